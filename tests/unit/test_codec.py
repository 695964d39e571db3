"""JSON and raw bytes to tensors and back: real shapes, every datatype, messages, threads, content codings."""

from __future__ import annotations

import gzip
import json
import random
import threading
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.codecs import compression, json_body, json_reader, json_tensor, raw_tensor
from function.errors import PredictError
from function.native.json_kernel import Kernel
from function.native.json_plain import PlainReader
from function.tensor import DATATYPES, Tensor
from tests.datatypes import NUMPY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = settings(max_examples=50, deadline=None)  # a busy machine is no failure
INTEGERS = [name for name in NUMPY if "INT" in name]


@pytest.fixture(scope="module", autouse=True, params=[Kernel, PlainReader])
def reader(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of this holds with the kernel in C, and without it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_reader, "_reader", request.param())
        yield


def as_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    assert not isinstance(tensor.data, list)
    array: np.ndarray[Any, Any] = np.frombuffer(memoryview(tensor.data), NUMPY[tensor.datatype])
    return array.reshape(tensor.shape)


def read(data: object, datatype: str, shape: tuple[int, ...]) -> Tensor:
    """`data` through a JSON body, as the protocols do it. A str is taken as JSON text."""
    body = b'{"data":%s}' % (data.encode() if isinstance(data, str) else json.dumps(data).encode())
    root = json_body.parse(body)
    array = json_body.array_field(root, "data", "the request")
    assert array is not None
    return json_tensor.read_array("x", datatype, shape, array)


def refusal(call: Any, *arguments: Any, code: str = "INVALID_ARGUMENT") -> str:
    with pytest.raises(PredictError) as caught:
        call(*arguments)
    assert caught.value.code == code
    return caught.value.message


# JSON bodies


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"  \n", "line 2, column 1"),
        (b'{"a":1', "line 1, column 7"),
        (b'{"a":1}{"b":2}', "Extra data at line 1, column 8"),
        (b'{"a":1}\0', "Extra data"),
        (b'{"a": [1,\n NaN]}', "NaN is no JSON number"),
        (b'{"a": [Infinity]}', "Infinity is no JSON number"),
        (b'{"a": -Infinity}', "binary data"),
        (b'{"a": 1e999}', "infinity"),
        (b'{"a": 01}', "line 1"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 0xff at offset 7)"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 3_000_000, "at byte 3000000"),
        (b'{"a":' * 500_000, "at byte 2500000"),
        (b"[1]", "an array"),
        (b"3", "it is 3"),
        (b"null", "it is null"),
        (b'"' + b"x" * 500 + b'"', "..."),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else None,
)
def test_bodies_that_are_no_json_object(body: bytes, words: str) -> None:
    message = refusal(json_body.parse, body)
    assert words in message
    assert len(message) < 400
    assert json_body.parse(b'{"next":"works"}').get("next") == "works"


def test_unicode_and_a_byte_order_mark() -> None:
    assert json_body.parse(b'\xef\xbb\xbf{"\\u00e9":"\xe2\x82\xac\\u0000z"}').get("é") == "€\0z"


def test_fields_are_checked() -> None:
    root = json_body.parse(b'{"a":1,"b":[2],"a":3,"c":{}}')
    assert "'a' twice" in refusal(json_body.check_fields, root, ("a", "b", "c"), "it")
    assert "unknown field 'b'; known: a, c" in refusal(json_body.check_fields, root, ("a", "c"), "it")
    assert "'b', a string; it is an array" in refusal(json_body.string_field, root, "b", "it")
    assert "'d', a string; it is missing" in refusal(json_body.string_field, root, "d", "it")
    assert "must be an array; it is an object" in refusal(json_body.array_field, root, "c", "it")
    assert "must be an object; it is 1" in refusal(json_body.object_field, root, "a", "it")
    assert json_body.array_field(root, "z", "it") is None


def test_documents_are_independent_of_each_other() -> None:
    first = json_body.parse(bytearray(b'{"a":["first",2]}'))
    second = json_body.parse(b'{"a":[3,4]}')
    assert [list(each.get("a")) for each in (first, second)] == [["first", 2], [3, 4]]  # type: ignore[call-overload]


def test_a_body_keeps_its_size_while_it_is_read_and_its_bytes_always() -> None:
    text = b'{"a":"\\u00e9","b":[1,2,3,4,5,6,7,8.5]}'
    body = bytearray(text)
    root = json_body.parse(body)
    with pytest.raises(BufferError):
        body.clear()  # strings and numbers are read when they are asked for
    assert root.get("a") == "é"
    assert body == text
    del root
    body.clear()


def plain(value: object) -> Any:
    """A JSON value as the standard library would have it."""
    if isinstance(value, json_body.Object):
        return {name: plain(inner) for name, inner in value.fields()}
    return [plain(inner) for inner in value] if isinstance(value, json_body.Array) else value


SCALARS = st.none() | st.booleans() | st.text() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False)


@EXAMPLES
@given(
    st.dictionaries(
        st.text(),
        st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30),
    )
)
def test_values_are_those_of_the_standard_library(tree: dict[str, Any]) -> None:
    text = json.dumps(tree, ensure_ascii=False).replace("Infinity", "1e308")
    assert plain(json_body.parse(text.encode())) == json.loads(text)


@EXAMPLES
@given(st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_numbers_are_rounded_as_python_rounds_them(text: str) -> None:
    array = json_body.parse(b'{"a":[%s]}' % text.encode()).get("a")
    assert isinstance(array, json_body.Array)
    got = array.first()
    assert got == (int(text) if isinstance(got, int) else float(text))
    assert isinstance(got, int) == (text.lstrip("-").isdigit() and -(1 << 63) <= int(text) < 1 << 64)


# JSON arrays: shapes


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "FP16", "INT64", "UINT8", "BOOL", "BYTES"])
@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([1, 0, 1, 1, 0, 0], (6,)),
        ([1, 0, 1, 1, 0, 0], (2, 3)),
        ([[1, 0, 1], [1, 0, 0]], (2, 3)),
        ([[[1], [0], [1]], [[1], [0], [0]]], (2, 3, 1)),
        ([1], ()),
        ([1], (1, 1, 1)),
        ([[[1]]], (1, 1, 1)),
        ([], (0,)),
        ([], (0, 5)),
        ([], (5, 0)),
        ([[], [], []], (3, 0)),
        ([[[], []]], (1, 2, 0)),
    ],
)
def test_flat_and_nested_data(datatype: str, data: Any, shape: tuple[int, ...]) -> None:
    def worded(value: Any) -> Any:
        return [worded(item) for item in value] if isinstance(value, list) else f"[{value}"

    tensor = read(worded(data) if datatype == "BYTES" else data, datatype, shape)
    assert tensor.shape == shape
    expected = np.array(data).reshape(shape)
    if datatype == "BYTES":
        assert tensor.data == [b"[%d" % value for value in expected.ravel()]
    else:
        assert tensor.datatype == datatype
        np.testing.assert_array_equal(as_numpy(tensor), expected)


RAGGED = [
    ("[[1,2],[3]]", (3,)),
    ("[[1,2],[3]]", (2, 2)),
    ("[[1,2],[3]]", (1, 3)),
    ("[[],[1,2]]", (2,)),
    ("[[],[1,2]]", (2, 1)),
    ("[[1],[2],3]", (3,)),
    ("[1,[2],[3]]", (3,)),
    ("[1,[2],[3]]", (1, 3)),
    ("[[1,[2]],[3,4]]", (2, 2)),
    ("[[[1],[2]],[[3],[4]]]", (2, 2)),
    ("[[1,2],[3,[]]]", (2, 2)),
    ("[[1,2],[[],4,3]]", (2, 2)),
    ("[[1,[]],[[],[2,3,4]]]", (2, 2)),
    ("[[1,2],3,4]", (2, 2)),
    ("[1,2,[3,4]]", (2, 2)),
    ("[[1,2],[3,4],[5,6]]", (2, 3)),
    ("[[1,2,3]]", (3,)),
    ("[[1,2,3,4]]", (2, 2)),
    ("[[1,2],[3,4]]", (1, 2, 2)),
    ("[1,2,3]", (2, 2)),
    ("[1,2,3,4,5]", (2, 2)),
    ("[]", (2, 2)),
    ("[[]]", (0,)),
    ("[[],[]]", (3, 0)),
    ("[[[]],[]]", (2, 0)),
    ("[]", ()),
    ("[[]]", ()),
    ("[[1]]", ()),
    ("[1,2]", ()),
]


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "UINT64", "INT8", "FP16", "BOOL"])
@pytest.mark.parametrize(("data", "shape"), RAGGED)
def test_data_that_has_not_the_shape(datatype: str, data: str, shape: tuple[int, ...]) -> None:
    message = refusal(read, data, datatype, shape)
    assert "'x'" in message
    assert "expected" in message or "takes" in message


def test_messages_name_the_place() -> None:
    assert "data[1] has 1 elements; expected 2" in refusal(read, "[[1,2],[3]]", "FP32", (2, 2))
    assert "data[1][0] is 3; expected an array of 1" in refusal(read, "[[[1],[2]],[3,4]]", "FP32", (2, 2, 1))
    assert "data of shape [1, 3]; expected shape [3]" in refusal(read, "[[1,2,3]]", "FP32", (3,))
    assert "element 1 in row-major order is an array" in refusal(read, "[[1,[2]],[3,4]]", "FP32", (2, 2))


@EXAMPLES
@given(st.data())
def test_only_the_real_shape_passes(data: Any) -> None:
    """Against a plain reading of any nested JSON: accepted exactly when it is flat or has the shape."""
    tree = data.draw(st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=3), max_leaves=8))
    tree = tree if isinstance(tree, list) else [tree]
    shape = tuple(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)))

    def fits(node: Any, sizes: tuple[int, ...]) -> bool:
        if not sizes:
            return not isinstance(node, list)
        return isinstance(node, list) and len(node) == sizes[0] and all(fits(item, sizes[1:]) for item in node)

    flat = not any(isinstance(item, list) for item in tree) and len(tree) == int(np.prod(shape))
    if flat or fits(tree, shape):
        np.testing.assert_array_equal(as_numpy(read(tree, "INT64", shape)), np.array(tree, np.int64).reshape(shape))
    else:
        refusal(read, tree, "INT64", shape)


# JSON arrays: elements


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integer_limits(datatype: str) -> None:
    limits = np.iinfo(NUMPY[datatype])
    low, high = int(limits.min), int(limits.max)
    assert as_numpy(read([low, high, 0], datatype, (3,))).tolist() == [low, high, 0]
    for wrong in (low - 1, high + 1):
        message = refusal(read, [0, wrong], datatype, (2,))
        shown = wrong if -(1 << 63) <= wrong < 1 << 64 else float(wrong)  # beyond 64 bits, numbers are doubles
        assert f"element 1 in row-major order is {shown}; {datatype} takes" in message
        assert f"from {low} to {high}" in message


WRONG = ["null", "true", "{}", "[]", "[1]", '"1"', "1.5", "1.0"]
RIGHT = {"BYTES": ['"1"'], "FP16": ["1.5", "1.0"], "FP32": ["1.5", "1.0"], "FP64": ["1.5", "1.0"]}


@pytest.mark.parametrize(
    ("datatype", "wrong"),
    [
        (datatype, wrong)
        for datatype in (*NUMPY, "BYTES")
        for wrong in WRONG
        if datatype != "BOOL" and wrong not in RIGHT.get(datatype, ())
    ],
)
def test_elements_of_the_wrong_kind(datatype: str, wrong: str) -> None:
    right = '"a"' if datatype == "BYTES" else "7"
    message = refusal(read, f"[{right},{right},{wrong}]", datatype, (3,))
    assert "element 2" in message
    assert datatype in message


@pytest.mark.parametrize("wrong", ["2", "-1", "1.0", '"true"', "null", "[true]"])
def test_bool_takes_truth_values_only(wrong: str) -> None:
    assert "true, false, 1 and 0" in refusal(read, f"[true,{wrong}]", "BOOL", (2,))
    assert as_numpy(read("[true,false,1,0]", "BOOL", (4,))).tolist() == [True, False, True, False]


def test_fp16_range() -> None:
    assert as_numpy(read([65519.99, -65504, 1e-9, 0.1], "FP16", (4,))).tolist() == [65504, -65504, 0, np.float16(0.1)]
    for wrong in (65520, -65520.0, 1e30):
        assert "65504" in refusal(read, [0, wrong], "FP16", (2,))


def test_bf16_needs_binary_data() -> None:
    assert "binary_data_size" in refusal(read, [1], "BF16", (1,))


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_integers_and_reals_side_by_side(datatype: str) -> None:
    data = [0, -1, 0.5, (1 << 64) - 1, -(1 << 63), 1 << 63, 2**53 + 1, -0.0, 1e-30]
    np.testing.assert_array_equal(as_numpy(read(data, datatype, (3, 3))).ravel(), np.array(data, NUMPY[datatype]))
    assert as_numpy(read("[-0, -0]", "INT8", (2,))).tolist() == [0, 0]
    assert "9223372036854775808; INT64" in refusal(read, "[-0, 9223372036854775808]", "INT64", (2,))
    whole = [value for value in data if isinstance(value, int)]
    np.testing.assert_array_equal(as_numpy(read(whole, datatype, (6,))), np.array(whole, NUMPY[datatype]))


def test_depth_is_bounded() -> None:
    deep = json_body.parse(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}").get("a")
    assert isinstance(deep, json_body.Array)
    assert "deeper than 64 levels" in refusal(json_tensor.nested_shape, deep)
    assert "deeper than 64 levels" in refusal(json_tensor.read_array, "x", "FP32", (2,), deep)


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, 4), max_size=4).map(tuple)


def raw_tensors(datatype: str) -> st.SearchStrategy[tuple[tuple[int, ...], bytes]]:
    def filled(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[tuple[int, ...], bytes]]:
        size = int(np.prod(shape, dtype=int)) * DATATYPES[datatype].itemsize
        content = st.binary(min_size=size, max_size=size)
        if datatype == "BOOL":
            content = content.map(lambda raw: bytes(byte & 1 for byte in raw))
        return content.map(lambda raw: (shape, raw))

    return shapes().flatmap(filled)


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
@EXAMPLES
@given(st.data())
def test_round_trip_of_raw_bytes(datatype: str, data: Any) -> None:
    shape, raw = data.draw(raw_tensors(datatype))
    before = data.draw(st.binary(max_size=20))
    tensor = raw_tensor.tensor_from_bytes(
        "x", datatype, shape, before + raw + b"!", slice(len(before), len(before + raw))
    )
    assert (tensor.datatype, tensor.shape) == (datatype, shape)
    assert bytes(raw_tensor.tensor_to_bytes(tensor)) == raw
    assert not isinstance(tensor.data, list)
    address = np.frombuffer(memoryview(tensor.data), np.uint8).ctypes.data
    assert address % DATATYPES[datatype].itemsize == 0


@pytest.mark.parametrize("datatype", NUMPY)
@pytest.mark.parametrize("form", ["flat", "nested"])
@EXAMPLES
@given(st.data())
def test_round_trip_through_json(datatype: str, form: str, data: Any) -> None:
    shape, raw = data.draw(raw_tensors(datatype))
    array = np.frombuffer(raw, NUMPY[datatype]).reshape(shape)
    tensor = Tensor(datatype, shape, raw)
    if not np.isfinite(array).all():
        assert "binary data" in refusal(raw_tensor.tensor_to_json, "y", tensor)
        return
    flat = raw_tensor.tensor_to_json("y", tensor)
    assert flat == array.ravel().tolist()
    values = raw_tensor.nested(flat, shape)
    assert values == array.tolist()
    if not shape:
        values = [values]
    back = as_numpy(read(flat if form == "flat" else values, datatype, shape))
    np.testing.assert_array_equal(back.astype(NUMPY[datatype]), array)
    assert back.dtype == NUMPY[datatype]


@EXAMPLES
@given(shapes(), st.data())
def test_round_trip_of_bytes(shape: tuple[int, ...], data: Any) -> None:
    count = int(np.prod(shape, dtype=int))
    texts = data.draw(st.lists(st.text(), min_size=count, max_size=count))
    tensor = Tensor("BYTES", shape, [text.encode() for text in texts])
    assert read(raw_tensor.tensor_to_json("y", tensor), "BYTES", shape).data == tensor.data
    items = data.draw(st.lists(st.binary(), min_size=count, max_size=count))
    raw = bytes(raw_tensor.tensor_to_bytes(Tensor("BYTES", shape, items)))
    assert raw_tensor.tensor_from_bytes("x", "BYTES", shape, raw, slice(0, len(raw))).data == items


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_numbers_that_json_has_not(datatype: str, value: float) -> None:
    raw: bytes = np.array([[0, 1], [value, 2]], NUMPY[datatype]).tobytes()
    message = refusal(raw_tensor.tensor_to_json, "y", Tensor(datatype, (2, 2), raw))
    assert f"output 'y' is {value} at element 2" in message


def test_outputs_that_json_cannot_carry() -> None:
    assert "binary data" in refusal(raw_tensor.tensor_to_json, "y", Tensor("BYTES", (1,), [b"\xff"]))
    assert "BF16" in refusal(raw_tensor.tensor_to_json, "y", Tensor("BF16", (1,), b"\0\0"))
    large = np.array([1.7e308, 1.7e308, -5e-324])  # a sum beyond a double, of finite numbers
    assert raw_tensor.tensor_to_json("y", Tensor("FP64", (3,), large.tobytes())) == large.tolist()


def test_aligned_bytes_are_not_copied_and_others_are() -> None:
    body = bytes(range(32))
    aligned = raw_tensor.tensor_from_bytes("x", "FP32", (4,), body, slice(8, 24)).data
    assert isinstance(aligned, memoryview)
    assert aligned.obj is body
    assert raw_tensor.tensor_from_bytes("x", "FP32", (4,), body, slice(6, 22)).data == body[6:22]
    assert isinstance(raw_tensor.tensor_from_bytes("x", "FP32", (4,), body, slice(6, 22)).data, bytes)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "words"),
    [
        ("FP32", (2, 2), b"0" * 15, "15 bytes of binary data; expected 16 for shape [2, 2] of FP32"),
        ("FP32", (2, 2), b"0" * 17, "expected 16"),
        ("INT64", (), b"", "expected 8"),
        ("BOOL", (3,), b"\0\1\2", "0 or 1"),
        ("BYTES", (2,), b"\1\0\0\0a", "1 whole elements in the first 5 of 5 bytes; expected 2"),
        ("BYTES", (1,), b"\1\0\0\0ab", "first 5 of 6"),
        ("BYTES", (1,), b"\2\0\0\0a", "0 whole elements"),
        ("BYTES", (1,), b"\xff\xff\xff\xffa", "0 whole elements"),
        ("BYTES", (1 << 40,), b"\0\0\0\0\0\0", "1 whole elements"),
        ("BYTES", (0,), b"\0", "expected 0"),
    ],
)
def test_raw_bytes_that_do_not_fit(datatype: str, shape: tuple[int, ...], raw: bytes, words: str) -> None:
    message = refusal(raw_tensor.tensor_from_bytes, "x", datatype, shape, raw, slice(0, len(raw)))
    assert words in message
    assert "'x'" in message


@pytest.mark.parametrize(
    ("shape", "count", "filled"),
    [
        ((2, 3), 6, (2, 3)),
        ((2, 3), 7, None),
        ((-1, 3), 6, (2, 3)),
        ((-1, 3), 0, (0, 3)),
        ((-1, 3), 7, None),
        ((2, -1), 6, (2, 3)),
        ((-1, -1), 6, None),
        ((-1, 0), 0, None),
        ((), 1, ()),
        ((), 2, None),
        ((-1,), 5, (5,)),
    ],
)
def test_fill_shape(shape: tuple[int, ...], count: int, filled: tuple[int, ...] | None) -> None:
    assert raw_tensor.fill_shape(shape, count) == filled


# Threads


def test_eight_threads_read_what_each_was_sent() -> None:
    failures: list[object] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(100):
            array = random.standard_normal((4, 50, 20))
            got = as_numpy(read(array.tolist(), "FP64", array.shape))
            if not np.array_equal(got, array):
                failures.append(seed)
            try:
                read("[[1],[2],3]", "FP32", (3,))
                failures.append("ragged data passed")
            except PredictError:
                pass

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Content codings


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate ": raw_deflate,
}


@pytest.mark.parametrize("encoding", CODINGS)
@EXAMPLES
@given(body=st.binary())
def test_inflate(encoding: str, body: bytes) -> None:
    assert compression.inflate(CODINGS[encoding](body), encoding, len(body)) == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@EXAMPLES
@given(body=st.binary())
def test_deflate_is_deterministic_and_inflates_back(encoding: str, body: bytes) -> None:
    small = compression.deflate(body, encoding)
    assert compression.deflate(body, encoding) == small
    assert compression.inflate(small, encoding, len(body)) == body


@pytest.mark.parametrize("encoding", CODINGS)
def test_inflate_stops_at_the_limit(encoding: str) -> None:
    body = bytes(1000)
    packed = CODINGS[encoding](body)
    assert compression.inflate(packed, encoding, 1000) == body
    assert "999 bytes" in refusal(compression.inflate, packed, encoding, 999, code="PAYLOAD_TOO_LARGE")


def test_a_bomb_is_not_inflated() -> None:
    stream = zlib.compressobj(1, wbits=31)
    bomb = b"".join([*(stream.compress(bytes(1 << 20)) for _ in range(64)), stream.flush()])
    tracemalloc.start()
    try:
        refusal(compression.inflate, bomb, "gzip", 1 << 20, code="PAYLOAD_TOO_LARGE")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 << 20  # CPython joins its blocks at the end: twice the limit, of 64 MB


@pytest.mark.parametrize("encoding", CODINGS)
def test_a_large_body_inflates_in_pieces(encoding: str) -> None:
    body = random.Random(1).randbytes(700_000) * 5
    packed = CODINGS[encoding](body)
    inflated = compression.inflate(packed, encoding, len(body))
    assert inflated == body
    assert isinstance(inflated, bytearray)
    for wrong in (packed[:-1], packed[: len(packed) // 2], packed + b"\0", packed + packed):
        refusal(compression.inflate, wrong, encoding, 2 * len(body))
    assert "3499999 bytes" in refusal(compression.inflate, packed, encoding, 3_499_999, code="PAYLOAD_TOO_LARGE")


def test_gzip_states_its_size() -> None:
    body = gzip.compress(bytes(3 << 20))
    assert compression.largest(body, "gzip", 64 << 20) == 3 << 20
    assert compression.largest(body, " GZip", 2 << 20) == 2 << 20
    assert compression.largest(body, "deflate", 64 << 20) == 64 << 20
    assert compression.largest(b"", "gzip", 64 << 20) == 1 << 20
    lie = body[:-4] + (2 << 20).to_bytes(4, "little")
    assert "more than the 2097152 bytes" in refusal(compression.inflate, lie, "gzip", 64 << 20)


@pytest.mark.parametrize("encoding", CODINGS)
def test_damaged_streams(encoding: str) -> None:
    packed = CODINGS[encoding](b"a tensor, say" * 20)
    for wrong in (b"", packed[:1], packed[:-1], packed + b"\0", packed + packed, b"{}", b"\x78\x9c", b"\x1f\x8b"):
        refusal(compression.inflate, wrong, encoding, 10_000)
    assert compression.inflate(packed, encoding, 10_000) == b"a tensor, say" * 20


def test_encodings_by_name() -> None:
    assert compression.inflate(b"as it is", "identity", 100) == b"as it is"
    for unknown in ("br", "zstd", "gzip, gzip", "x" * 1000):
        message = refusal(compression.inflate, b"", unknown, 100, code="UNSUPPORTED_MEDIA_TYPE")
        assert "supported: gzip, deflate" in message
        assert len(message) < 200


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("GZIP;Q=1", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("gzip; q=0, deflate", "deflate"),
        ("gzip;q=0", None),
        ("*", "gzip"),
        ("*;q=0.5, gzip;q=0", "deflate"),
        ("br, *;q=0", None),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("br;q=1.0, zstd", None),
        ("gzip;q=nan", None),
        ("gzip;q=2", None),
        ("gzip;q=", None),
        ("gzip;level=9", None),
        (";;;,,,=", None),
    ],
)
def test_accepted_encoding(header: str, encoding: str | None) -> None:
    assert compression.accepted_encoding(header) == encoding
