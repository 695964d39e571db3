"""The JSON reader in C: the same values, tensors and refusals as Python's, on every path; and how it is had."""

from __future__ import annotations

import ctypes
import random
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.codecs import json_body, json_reader, json_tensor
from function.errors import PredictError
from function.messages import LARGE_BODY
from function.native.json_kernel import Kernel
from function.native.json_plain import PlainReader
from function.native.json_values import NUMBERS, WORDS, JsonError, TooManyValuesError
from function.settings import Settings
from native import build
from native.fuzz import differential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from function.tensor import Tensor

EXAMPLES = settings(max_examples=200, deadline=None)  # a busy machine is no failure
FUZZ = Path(build.__file__).parent / "fuzz"
SEEDS = sorted((FUZZ / "corpus").iterdir())
READERS = (Kernel(), PlainReader())
DATATYPES = ["FP32", "FP64", "FP16", "INT8", "UINT8", "INT16", "UINT32", "INT64", "UINT64", "BOOL", "BYTES"]


@pytest.fixture(autouse=True)
def reader_as_it_was() -> Iterator[None]:
    before = json_reader._reader
    yield
    json_reader._reader = before


def values(reader: Kernel | PlainReader, text: bytes) -> tuple[int, object, object]:
    """0 and all of a text, without trees; or the number of what is wrong, and its place."""
    view = memoryview(text)
    try:
        document = reader.read(view, reader.count(view), 0)
    except JsonError as error:
        return error.number, error.position, None
    kept = [(document.kind(at), document.length(at), document.payload(at)) for at in range(len(document))]
    return 0, kept, [document.string(at) for at in range(len(document)) if document.kind(at) in (6, 7)]


def mutated(rng: random.Random, text: bytes) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(changed) + 1)
        new = rng.choice(b'[]{},:"\\ud80123456789.eE+-tfn rulas/\xe2\x82\xac\xc0\x80\x00\n\xff')
        changed[at : at + rng.choice([0, 0, 1, 1, 2])] = bytes([new] * rng.choice([0, 1, 1, 1]))
    return bytes(changed)


def same(text: bytes) -> int:
    """What both readers say of a text: 0 or the number of the mistake."""
    of_strings = {1, *range(22, 29)}
    kernel, plain = (values(reader, text) for reader in READERS)
    if kernel[0] in of_strings:  # of several mistakes in a string Python may name another one
        assert plain[0] in of_strings, text
    else:
        assert kernel == plain, text
    return kernel[0]


def test_both_readers_find_the_same_values_and_mistakes() -> None:
    rng = random.Random(7)
    found = {same(mutated(rng, rng.choice(SEEDS).read_bytes())) for _ in range(20_000)}
    assert found >= set(WORDS) - {10, 26}


def test_what_the_fuzzer_found_worth_keeping() -> None:
    with tarfile.open(FUZZ / "corpus.tar.xz") as corpus:
        texts = [file.read() for member in corpus if (file := corpus.extractfile(member))]
    assert len({same(text) for text in texts}) > 20


def answered(reader: Kernel | PlainReader, text: str, datatype: str, shape: tuple[int, ...]) -> object:
    """The tensor's bytes, or the refusal."""
    json_reader._reader = reader
    array = json_body.parse(b'{"x":%s}' % text.encode()).get("x")
    assert isinstance(array, json_body.Array)
    try:
        tensor: Tensor = json_tensor.read_array("x", datatype, shape, array)
    except PredictError as error:
        return error.message
    return tensor.data if isinstance(tensor.data, list) else bytes(tensor.data)


ELEMENTS = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "-0",
        "2.5",
        "255",
        "256",
        "-129",
        "65520",
        "3e38",
        "3.5e38",
        "1e-50",
        "1.0",
        "18446744073709551615",
        "9223372036854775808",
        "-9223372036854775809",
        "9007199791611905",
        "-18014399583223809",
    ]
)


@EXAMPLES
@given(st.data())
def test_trees_are_answered_as_elements_are(data: st.DataObject) -> None:
    """Eight numbers and more are read by the kernel into one buffer; Python's reader has them one by one."""
    found = (*data.draw(st.lists(st.integers(1, 3), max_size=2)), data.draw(st.integers(8, 9)))
    count = int(np.prod(found))
    pool = data.draw(st.sampled_from([ELEMENTS, st.sampled_from(["0", "1"]), st.sampled_from(["7", "127"])]))
    texts = data.draw(st.lists(pool, min_size=count, max_size=count))
    if data.draw(st.booleans()):
        texts[data.draw(st.integers(0, count - 1))] = data.draw(st.sampled_from(["null", "[1]", '"a"', "{}", "true"]))
    level = list(texts)
    for size in reversed(found):
        level = [f"[{','.join(level[at : at + size])}]" for at in range(0, len(level), size)]
    (text,) = level
    shapes = [found, (count,), (*found, 1), found[1:], (found[0] + 1, *found[1:]), (1, *found), (2, 2), ()]
    shape = data.draw(st.sampled_from(shapes))
    datatype = data.draw(st.sampled_from(DATATYPES))
    kernel, plain = (answered(reader, text, datatype, shape) for reader in READERS)
    assert kernel == plain


def test_the_same_bits_as_json_struct_and_numpy() -> None:
    """The long form: python -m native.fuzz.differential."""
    assert differential.run(1500, seed=random.randrange(1 << 32)) > 100_000


@pytest.mark.parametrize("space", ["", " ", "\n\t"])
def test_shapes_of_trees(space: str) -> None:
    """Alike or not, as deep as it may be and deeper."""
    row = f"[{','.join(['1.5'] * 9)}]"
    for text, shape in (
        (row, (9,)),
        (f"[{row},{space}{row}]", (2, 9)),
        (f"[{row},{row[:-5]}]]", None),
        (f"[{row},[]]", None),
        (f"[[],{row}]", None),
        (f"[[[]],[{row[1:]}]", None),
        (f"[{row},1]", None),
        (f"[1,{row}]", None),
        ("[" * 63 + row + "]" * 63, (1,) * 63 + (9,)),
        ("[" * 64 + row + "]" * 64, None),
    ):
        for path in range(READERS[0].path + 1):
            kernel = Kernel()
            kernel.path = path
            view = memoryview(text.replace(",", f"{space},{space}").encode())
            document = kernel.read(view, kernel.count(view), kernel.count(view))
            assert (document.shape(0) if document.kind(0) == NUMBERS else None) == shape, text


def test_more_values_than_room() -> None:
    text = memoryview(b"[1,2,3]")
    assert len(Kernel().read(text, 4, 0)) == 4
    with pytest.raises(TooManyValuesError):
        Kernel().read(text, 3, 0)


@pytest.mark.parametrize("reader", READERS)
def test_mistakes_in_a_large_body(reader: Kernel | PlainReader) -> None:
    """It is not read a second time for the standard library's words."""
    json_reader._reader = reader
    with pytest.raises(PredictError, match="expected a string for object key at byte 11"):
        json_body.parse(b'{"a":"\\"", 1}' + b" " * LARGE_BODY)
    with pytest.raises(PredictError, match="expected a comma or a closing brace at byte"):
        json_body.parse(b'{"a":[' + b"1.5," * (LARGE_BODY // 4) + b"1]]")


def test_an_integer_is_rounded_once() -> None:
    """By way of a double, (1 << 54) + (1 << 30) + 1 would become the even float below it."""
    integers = [(1 << 54) + (1 << 30) + 1, -(1 << 54) - (1 << 30) - 1, (1 << 64) - 1, (1 << 53) + 1]
    want = np.array([np.float32(np.uint64(abs(each))) * np.sign(each) for each in integers], np.float32).tobytes()
    assert np.float32(float(integers[0])) != np.float32(np.uint64(integers[0]))
    for reader in READERS:
        assert answered(reader, str(integers * 2), "FP32", (8,)) == want * 2


def test_without_the_library_python_reads_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_name: str) -> ctypes.CDLL:
        raise OSError("no such file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    json_reader.configure(Settings({}))
    for _ in range(2):
        assert json_body.parse(b'{"a":1}').get("a") == 1
    said = capsys.readouterr().err
    assert said.count("JSON is read by Python, which is many times slower; run: python -m native.build") == 1


def test_the_setting_switches_it_off() -> None:
    json_reader.configure(Settings({"JSON_KERNEL": "0"}))
    assert isinstance(json_reader.reader(), PlainReader)
    json_reader.configure(Settings({}))
    assert isinstance(json_reader.reader(), Kernel)


def test_powers_of_five() -> None:
    rows = [line.strip(" {},").split(", ") for line in build.powers().splitlines()[1:-1]]
    bits = [int(high, 16) << 64 | int(low, 16) for high, low in rows]
    assert len(bits) == 651
    assert bits[342] == 1 << 127
    assert bits[342 + 55] == 5**55  # the last that 128 bits hold
    assert all(each >> 127 == 1 for each in bits)
