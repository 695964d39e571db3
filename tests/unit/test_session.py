"""Loaded models: built once whoever asks, their answers, and what happens when loading or a run goes wrong."""

from __future__ import annotations

import json
import math
import shutil
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from function.engine import golden, model, registry, session
from function.engine.artifact import PORTABLE, read_record, sealed
from function.engine.registry import Models
from function.errors import PredictError
from function.native import cpu, ort_capi
from function.settings import Settings
from function.tensor import Spec, Tensor
from tests import support

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FAMILY = cpu.family(cpu.flags()) or PORTABLE


@pytest.fixture
def repository(originals: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(originals, tmp_path / "models")
    return tmp_path / "models"


def models_of(repository: Path, **variables: str) -> Models:
    return Models(Settings({"MODEL_REPOSITORY": str(repository), **variables}))


@pytest.fixture
def models(originals: Path) -> Models:
    return models_of(originals)


def answer(models: Models, name: str = "tiny") -> NDArray[np.float32]:
    return support.logits(models.get(name).run({"input": support.picture()}))


def oracle(originals: Path, values: NDArray[np.float32], name: str = "tiny") -> NDArray[np.float32]:
    raw = onnxruntime.InferenceSession(str(originals / name / "model.onnx"), providers=["CPUExecutionProvider"])
    [found] = raw.run(None, {"input": values})
    return np.asarray(found)


def refusal(models: Models, name: str = "tiny") -> str:
    with pytest.raises(PredictError) as caught:
        models.get(name)
    assert caught.value.code == "UNAVAILABLE"
    return caught.value.message


# --- one load


def test_nothing_is_loaded_before_it_is_asked_for(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_capi, "load_library", lambda: pytest.fail("the library was loaded"))
    assert models.names() == ["other", "tiny"]
    assert models.metadata("tiny").outputs["logits"].shape == (-1, support.CLASSES)
    assert not models.loaded("tiny")


def test_eight_threads_load_once(models: Models, originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real, barrier = session.Session, threading.Barrier(8)

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, path: str, **options: Any) -> None:
            made.append(path)
            super().__init__(path, **options)

    def first_request(_: int) -> NDArray[np.float32]:
        barrier.wait()
        return answer(models)

    monkeypatch.setattr(session, "Session", Counted)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(first_request, range(8)))
    assert made == [str(originals / "tiny" / "prepared" / FAMILY / "model.onnx")]
    assert all((found == answers[0]).all() for found in answers)
    assert models.loaded("tiny")
    assert not models.loaded("other")


def test_two_models_are_two(models: Models, originals: Path) -> None:
    values = support.logits({"input": support.picture()}, "input")
    for name in ("tiny", "other"):
        np.testing.assert_allclose(answer(models, name), oracle(originals, values, name), rtol=1e-5, atol=1e-6)
        assert models.get(name) is models.get(name)


def test_loading_begins_while_the_caller_goes_on(models: Models) -> None:
    result = models.begin("tiny")
    assert result() is models.get("tiny")
    assert models.begin("tiny")() is models.get("tiny")


def test_a_failure_that_began_early_is_raised_where_the_result_is_wanted(repository: Path) -> None:
    models = models_of(repository)
    (repository / "tiny" / "prepared" / "image.onnx").unlink()
    result = models.begin("tiny")
    with pytest.raises(PredictError, match=r"image\.onnx"):
        result()
    assert not models.loaded("tiny")


def test_a_failure_is_tried_again(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = models_of(repository)
    with monkeypatch.context() as broken:
        broken.setattr(
            ort_capi, "load_library", lambda: (_ for _ in ()).throw(ort_capi.OrtError(3, "no library; install it"))
        )
        message = refusal(models)
    assert message == "ONNX Runtime cannot be loaded: no library; install it"  # preparing again would not help
    assert answer(models).shape == (1, support.CLASSES)


def test_a_thread_that_waited_for_a_failure_tries_itself(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, real, tries = models_of(originals), model.Model, threading.Semaphore(1)

    def once_broken(*arguments: Any) -> model.Model:
        if tries.acquire(blocking=False):
            raise PredictError("UNAVAILABLE", "the first one fails")
        return real(*arguments)

    monkeypatch.setattr(registry, "Model", once_broken)

    def ask(_: int) -> str:
        try:
            return str(answer(models).shape)
        except PredictError as error:
            return error.message

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ask, range(4))) == ["(1, 10)"] * 3 + ["the first one fails"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../tiny", "absent", "tiny\0", "x" * 300, "\udcff", "model.toml"]
)
def test_names_of_no_model_are_not_found(name: str, originals: Path) -> None:
    (originals / "model.toml").touch()  # a file beside the model folders
    models = models_of(originals)
    for ask in (models.get, models.metadata):
        with pytest.raises(PredictError) as caught:
            ask(name)
        assert caught.value.code == "NOT_FOUND"


def test_a_repository_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    models = models_of(tmp_path / "absent")
    for ask in (models.names, lambda: models.get("tiny")):
        with pytest.raises(PredictError) as caught:
            ask()
        assert caught.value.code == "UNAVAILABLE"
        assert str(tmp_path / "absent") in caught.value.message


def test_a_folder_that_was_renamed_says_so(repository: Path) -> None:
    (repository / "tiny").rename(repository / "small")
    assert "holds the model 'tiny', not 'small'; rename one of the two" in refusal(models_of(repository), "small")


def test_threads_are_what_the_settings_say(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = session.Session

    def spy(path: str, *, threads: int, **options: Any) -> session.Session:
        asked.append(threads)
        return real(path, threads=threads, **options)

    monkeypatch.setattr(session, "Session", spy)
    monkeypatch.setattr(cpu, "count", lambda memory: 100 + memory)
    models_of(originals, INTRA_OP_THREADS="3").get("tiny")
    models_of(originals, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="7").get("tiny")
    assert asked == [3, 107]


# --- VERIFY_ARTIFACTS=1


def forge(folder: Path, **changes: Any) -> None:
    """Rewrites a record so that its own checksum is right again."""
    record = read_record(str(folder)) | changes
    record.pop("crc32")
    (folder / "artifact.json").write_bytes(sealed(record))


def test_verified_models_answer(originals: Path, models: Models) -> None:
    np.testing.assert_array_equal(answer(models_of(originals, VERIFY_ARTIFACTS="1")), answer(models))


def test_verifying_finds_a_wrong_sha256(repository: Path) -> None:
    folder = repository / "tiny" / "prepared" / FAMILY
    files = read_record(str(folder))["files"]
    files["model.onnx"]["sha256"] = "0" * 64
    forge(folder, files=files)
    models_of(repository).get("tiny")  # CRC-32 and size are right
    message = refusal(models_of(repository, VERIFY_ARTIFACTS="1"))
    assert f"{folder}/model.onnx is damaged: its sha256 is not the one of artifact.json; run: zeroserve" in message


def test_verifying_finds_a_wrong_answer(repository: Path) -> None:
    folder = repository / "tiny" / "prepared" / FAMILY
    recorded = read_record(str(folder))["golden"]
    recorded["outputs"]["logits"][3] += 0.1
    forge(folder, golden=recorded)
    models_of(repository).get("tiny")
    message = refusal(models_of(repository, VERIFY_ARTIFACTS="1"))
    assert "the golden input's answer is wrong: output 'logits' has " in message
    assert " at 3, " in message


def test_verifying_finds_the_graph_of_another_model_behind_a_forged_record(repository: Path) -> None:
    """Everything fits, checksums and names: only the answer is another's."""
    folder, source = (repository / name / "prepared" / FAMILY for name in ("tiny", "other"))
    files = read_record(str(folder))["files"]
    for name in ("model.onnx", "weights.bin"):
        shutil.copy(source / name, folder / name)
        files[name] = read_record(str(source))["files"][name]
    forge(folder, files=files)
    assert "the golden input's answer is wrong" in refusal(models_of(repository, VERIFY_ARTIFACTS="1"))


def test_a_graph_that_ort_refuses_is_unavailable(repository: Path) -> None:
    for folder in (repository / "tiny" / "prepared").glob("*/"):
        files = read_record(str(folder))["files"]
        (folder / "model.onnx").write_bytes(b"no graph")
        files["model.onnx"] |= {"bytes": 8, "crc32": zlib.crc32(b"no graph")}
        forge(folder, files=files)
    message = refusal(models_of(repository))
    assert "model.onnx" in message
    assert f"run: zeroserve prepare {repository / 'tiny'}" in message


def test_a_graph_with_other_tensors_than_the_metadata_is_unavailable(repository: Path) -> None:
    path = repository / "tiny" / "prepared" / "model.json"
    document = json.loads(path.read_text())
    document["inputs"][0]["shape"] = [-1, 3, 8, 8]
    content = json.dumps(document).encode()
    path.write_bytes(content)
    for folder in (repository / "tiny" / "prepared").glob("*/"):
        files = read_record(str(folder))["files"]
        files["../model.json"] |= {"bytes": len(content), "crc32": zlib.crc32(content)}
        forge(folder, files=files)
    assert "its graph has the inputs {'input': ('FP32', (-1, 3, 16, 16))}" in refusal(models_of(repository))


# --- runs


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("integers", [False, True])
def test_numbers_from_json_are_rounded(count: int, integers: bool, models: Models, originals: Path) -> None:
    shape = (count, 3, support.SIDE, support.SIDE)
    values = np.random.default_rng(2).normal(0, 1, shape)
    numbers = [round(x) if integers and index % 2 else x for index, x in enumerate(values.ravel().tolist())]
    got = support.logits(models.get("tiny").run({"input": support.from_json(numbers, shape)}))
    values = np.array(numbers).reshape(shape)
    assert got.shape == (count, support.CLASSES)
    np.testing.assert_allclose(got, oracle(originals, values.astype(np.float32)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("number", [1e39, -1e39, 3.5e38])
@pytest.mark.parametrize("place", [0, -1])
def test_a_number_too_large_for_fp32_is_refused(number: float, place: int, models: Models) -> None:
    shape = (1, 3, support.SIDE, support.SIDE)
    values = np.zeros(shape)
    values.flat[place] = number
    with pytest.raises(PredictError, match=r"input 'input' is FP32 and holds a number beyond 3\.4e38") as caught:
        models.get("tiny").run({"input": support.from_json(values.tolist(), shape)})
    assert caught.value.code == "INVALID_ARGUMENT"
    values.flat[place] = 3.4e38
    models.get("tiny").run({"input": support.from_json(values.tolist(), shape)})


@pytest.mark.parametrize(
    "x",
    [
        Tensor("FP32", (1, 3), bytes(12)),
        Tensor("FP32", (1, 3, 2, 2), bytes(48)),
        Tensor("INT8", (1,), b"1"),
        Tensor("FP32", (1, 3, 16, 16), bytes(8)),
    ],
)
def test_an_input_that_does_not_fit_is_the_callers_mistake(x: Tensor, models: Models) -> None:
    with pytest.raises(PredictError, match="model 'tiny' cannot take this input: ") as caught:
        models.get("tiny").run({"input": x})
    assert caught.value.code == "INVALID_ARGUMENT"
    assert answer(models).shape == (1, support.CLASSES)


def test_only_the_outputs_asked_for(models: Models) -> None:
    assert list(models.get("tiny").run({"input": support.picture()}, ["logits"])) == ["logits"]
    with pytest.raises(PredictError, match="cannot take this input"):
        models.get("tiny").run({"input": support.picture()}, ["absent"])


@pytest.mark.parametrize("count", [1, 2])
def test_pixels_become_the_input(count: int, models: Models) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (count, support.SIDE, support.SIDE, 3), np.uint8)
    got = models.get("tiny").pixels_to_input(Tensor("UINT8", pixels.shape, pixels.tobytes()))
    expected = ((pixels / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(support.logits({"input": got}, "input"), expected, atol=1e-6)


def test_a_small_graph_damaged_after_loading_changes_no_answer(repository: Path) -> None:
    """The bytes that were checked serve, whatever becomes of the file: a loaded model may have been replaced."""
    random = np.random.default_rng(5)
    pixels = Tensor("UINT8", (1, support.SIDE, support.SIDE, 3), random.bytes(support.SIDE**2 * 3))

    def answer_to_pixels(damaged: bytes | None = None) -> NDArray[np.float32]:
        model = models_of(repository).get("tiny")
        if damaged is not None:
            path.write_bytes(damaged)
        return support.logits({"input": model.pixels_to_input(pixels)}, "input")

    path = repository / "tiny" / "prepared" / "image.onnx"
    content = path.read_bytes()
    expected = answer_to_pixels()
    # What ORT itself would not notice: another scale of the pixels.
    scale = np.float32(1 / 127.5).tobytes()
    unnoticed = content.replace(scale, np.float32(1 / 120).tobytes())
    assert unnoticed != content
    for damaged in (b"", content[:-3], unnoticed):
        np.testing.assert_array_equal(answer_to_pixels(damaged), expected)
        with pytest.raises(PredictError, match=r"image\.onnx.*run: zeroserve prepare"):
            models_of(repository).get("tiny")
        path.write_bytes(content)


def test_warming_runs_once(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []
    model = models.get("tiny")
    run = ort_capi.get_library().Run

    def spy(*arguments: object) -> None:
        runs.append(arguments)
        run(*arguments)

    monkeypatch.setattr(ort_capi.get_library(), "Run", spy)
    model.warm()
    assert len(runs) == 1


def test_warming_takes_the_examples_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros would be another branch of the graph, or none at all, and ORT would fill the log with its refusal."""
    node = helper.make_node("Reshape", ["x", "sizes"], ["y"])
    inputs = [("x", TensorProto.FLOAT, [4]), ("sizes", TensorProto.INT64, [1])]
    graph = support.make_model([node], inputs, [("y", TensorProto.FLOAT, ["n"])])
    extra = "[example]\nsizes = { shape = [1], value = -1 }\n"
    support.prepare_here(support.write_folder(tmp_path / "flat", graph, extra))
    model = models_of(tmp_path).get("flat")
    given: list[dict[str, Tensor]] = []
    monkeypatch.setattr(model, "run", given.append)
    model.warm()
    assert list(given[0]["sizes"].numbers()) == [-1]
    assert list(given[0]["x"].numbers()) == [0, 0, 0, 0]


# --- the golden input


def test_the_golden_input_is_always_the_same() -> None:
    specs = {name: Spec(name, name, (2, -1, 3)) for name in support.NAMES}
    first, second = golden.inputs(specs), golden.inputs(specs)
    for name, tensor in first.items():
        assert tensor.shape == (2, 1, 3)
        assert tensor.data == second[name].data
    assert golden.inputs(specs, seed=1)["FP32"].data != first["FP32"].data
    assert golden.inputs({"x": Spec("x", "FP32", (0, -1))})["x"].shape == (0, 1)


@pytest.mark.parametrize(
    ("expected", "got", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.0], None),
        ([1.0, 2.0], [1.0019, 2.0], None),
        ([1.0, 2.0], [1.0021, 2.0], "has 1.0021 at 0, 1 is expected within 0.002"),
        ([1.0, 2.0], [2.0, 1.0], "at 0"),
        ([1.0, 2.0], [1.0], "has 1 elements, 2 are expected"),
        ([1.0, 2.0], [math.nan, 2.0], "has nan at 0"),
        ([1.0, 2.0], [1.0, math.nan], "has nan at 1"),
        ([1.0, 2.0], [1.0, math.inf], "has inf at 1"),
        ([1.0, math.inf, math.nan], [1.0, math.inf, math.nan], None),
        ([1.0, math.inf], [1.0, -math.inf], "has -inf at 1"),
        ([1.0, math.inf], [1.1, math.inf], "at 0"),
        ([0.0, 0.0], [0.0, 0.0], None),
        ([0.0, 0.0], [0.0, 0.1], "at 1"),
        ([1e-10, 2e-10], [1e-10, 3e-10], "at 1"),
        ([], [], None),
    ],
)
def test_difference(expected: list[float], got: list[float], difference: str | None) -> None:
    found = golden.difference({"y": expected}, {"y": got})
    assert found == difference or (found and difference and difference in found)


def test_a_missing_output_is_a_difference() -> None:
    assert golden.difference({"y": [1.0]}, {}) == "output 'y' has 0 elements, 1 are expected"
