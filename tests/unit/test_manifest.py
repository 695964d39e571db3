"""model.toml: every field wrong in every way is refused by name, and what is accepted is what was written."""

from __future__ import annotations

import math
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import manifest
from models.manifest import ManifestError
from models.pinned import File
from models.table import TableError, make
from tests import support

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, Any] = {
    "name": "tiny",
    "version": "1",
    "description": "made for a test",
    "licence": "Apache-2.0",
    "source": "here",
    "labels": "labels.txt",
    "file": {"name": "model.onnx", "bytes": 5, "sha256": "0a" * 32, "sources": ["https://example.com/model.onnx"]},
    "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 8, 6]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
    "image": {
        "input": "input",
        "output": "scores",
        "size": [8, 6],
        "mean": [0.5, 0.5, 0],
        "std": [1, 0.5, 0.5],
        "activation": "none",
        "resize": "shorter_side",
        "resize_to": 9,
        "filter": "bicubic",
        "layout": "NCHW",
    },
}
MISSING = object()


def toml(value: Any) -> str:
    """A value as TOML writes it inline; strings as JSON escapes them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() or c in " .:/-_" else f"\\U{ord(c):08x}" for c in value) + '"'
    return str(value)


def write(folder: Path, document: dict[str, Any], labels: str = "one\ntwo\n") -> Path:
    (folder / "labels.txt").write_text(labels)
    text = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in document.items())
    (folder / "model.toml").write_text(text)
    return folder


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one field, named by its dotted path, of another value or missing."""
    document: dict[str, Any] = tomllib.loads("".join(f"{key} = {toml(item)}\n" for key, item in GOOD.items()))
    *parents, last = path.split(".")
    inner: Any = document
    for name in parents:
        inner = inner[int(name)] if name.isdigit() else inner[name]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    return document


def refusal(folder: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        manifest.read(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'model.toml'}")
    return message


def test_a_full_manifest(tmp_path: Path) -> None:
    found = manifest.read(write(tmp_path, GOOD))
    assert (found.name, found.version, found.licence) == ("tiny", "1", "Apache-2.0")
    assert found.path == tmp_path / "model.onnx"
    assert found.prepared == tmp_path / "prepared"
    assert found.file.sources == ["https://example.com/model.onnx"]
    assert found.labels == ["one", "two"]
    assert found.inputs == [manifest.TensorSpec("input", "FP32", [-1, 3, 8, 6])]
    assert found.outputs == [manifest.TensorSpec("scores", "FP32", [-1, 2])]
    assert found.image == manifest.Image(
        **{key: value for key, value in GOOD["image"].items() if key not in ("mean", "std")},
        mean=[0.5, 0.5, 0],
        std=[1, 0.5, 0.5],
    )


def test_what_may_be_left_out(tmp_path: Path) -> None:
    document = {key: value for key, value in GOOD.items() if key not in ("labels", "image")}
    document["file"] = {key: value for key, value in GOOD["file"].items() if key != "sources"}
    found = manifest.read(write(tmp_path, document))
    assert (found.labels, found.image, found.file.sources) == ([], None, [])
    required = {key: GOOD["image"][key] for key in ("input", "output", "size", "mean", "std")}
    rule = manifest.read(write(tmp_path, GOOD | {"image": required})).image
    assert rule is not None
    assert (rule.activation, rule.resize, rule.filter, rule.layout) == ("softmax", "stretch", "bilinear", "NCHW")


@pytest.mark.parametrize("name", ["digits", "mobilenetv2"])
def test_the_models_here_are_good(name: str) -> None:
    found = manifest.read(manifest.folder_of(name))
    assert found.name == name
    assert found.image is not None
    assert len(found.labels) == found.outputs[0].shape[1]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", MISSING, "missing fields ['name']"),
        ("name", 5, "name is 5; str is expected"),
        ("version", 1, "version is 1; str is expected"),
        ("version", True, "version is True; str is expected"),
        ("author", "me", "unknown fields ['author']; known are ["),
        ("labels", 5, "labels is 5; the name of a file"),
        ("labels", "\0", "cannot be read: embedded null byte"),
        ("labels", "absent.txt", "No such file or directory"),
        ("file", MISSING, "[file] missing fields ['bytes', 'name', 'sha256']"),
        ("file", "model.onnx", "[file] should be a table"),
        ("file.bytes", "5", "[file] bytes is '5'; int is expected"),
        ("file.bytes", 1.5, "[file] bytes is 1.5; int is expected"),
        ("file.sources", "https://example.com", "[file] sources is 'https://example.com'; list[str] is expected"),
        ("file.sources", [1], "[file] sources is [1]; list[str] is expected"),
        ("file.sha256", "0A" * 32, "64 lower-case hexadecimal digits are expected"),
        ("file.sha256", "0a", "64 lower-case hexadecimal digits are expected"),
        ("file.name", "../model.onnx", "[file] name must be a file of this folder"),
        ("file.bytes", 0, "[file] name must be a file of this folder, and bytes its size"),
        ("file.url", "x", "[file] unknown fields ['url']"),
        ("inputs", 5, "inputs should be tables, each under [[inputs]]"),
        ("inputs", {"name": "x"}, "inputs should be tables, each under [[inputs]]"),
        ("inputs", [5], "[[inputs]] should be a table"),
        ("inputs.0.shape", MISSING, "[[inputs]] missing fields ['shape']"),
        ("inputs.0.datatype", "float32", "datatype of 'input' is 'float32'; known are FP32, UINT8"),
        ("inputs.0.shape", [-2, 3], "shape of 'input' is [-2, 3]; whole numbers, -1 where dynamic"),
        ("inputs.0.shape", [1.5], "[[inputs]] shape is [1.5]; list[int] is expected"),
        ("inputs.0.shape", [True], "[[inputs]] shape is [True]; list[int] is expected"),
        ("inputs.0.shape", [10**30], "list[int] is expected"),
        ("outputs.0.kind", "logits", "[[outputs]] unknown fields ['kind']"),
        ("image", 5, "[image] should be a table"),
        ("image.mean", [0.5, 0.5], "[image] mean is [0.5, 0.5]; 3 numbers are expected"),
        ("image.mean", [0.5, 0.5, "0.5"], "list[float] is expected"),
        ("image.std", [1, 1, math.nan], "list[float] is expected"),
        ("image.std", [1, 1, math.inf], "list[float] is expected"),
        ("image.std", [1, 0, 1], "no std may be 0"),
        ("image.size", [8], "[image] size is [8]; 2 numbers are expected"),
        ("image.size", [0, 6], "size must be 1 to 16384 each way"),
        ("image.size", [8, 100_000], "size must be 1 to 16384 each way"),
        ("image.size", ["a", "b"], "list[int] is expected"),
        ("image.activation", "sigmoid", "[image] activation is 'sigmoid'; one of softmax, none is expected"),
        ("image.resize", "crop", "[image] resize is 'crop'; one of stretch, shorter_side"),
        ("image.filter", "box", "[image] filter is 'box'; one of nearest, bilinear, bicubic, lanczos"),
        ("image.layout", "HWC", "[image] layout is 'HWC'; one of NCHW, NHWC"),
        ("image.layout", "NHWC", "[image] input must name an FP32 input of shape [-1, 8, 6, 3]"),
        ("image.resize_to", 7, "[image] resize_to is 7; at least 8, the crop, is expected"),
        ("image.input", "scores", "[image] input must name an FP32 input of shape [-1, 3, 8, 6]"),
        ("image.output", "input", "[image] output must name an FP32 output of shape [-1, classes]"),
        ("image.size", [6, 8], "[image] input must name an FP32 input of shape [-1, 3, 6, 8]"),
        ("inputs.0.datatype", "FP64", "[image] input must name an FP32 input"),
        ("outputs.0.datatype", "INT64", "[image] output must name an FP32 output"),
        ("outputs.0.shape", [-1, 2, 1], "[image] output must name an FP32 output"),
        ("outputs.0.shape", [-1, 3], "2 labels for 3 classes"),
    ],
    ids=str,
)
def test_one_wrong_field_is_named(path: str, value: Any, message: str, tmp_path: Path) -> None:
    assert message in refusal(write(tmp_path, changed(path, value)))


@pytest.mark.parametrize("content", [b"name = ", b"\xff", b"name = 'a'\nname = 'b'", b"[inputs]\n[[inputs]]"])
def test_a_file_that_is_no_toml(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_bytes(content)
    assert "cannot be read: " in refusal(tmp_path)


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "labels.txt").write_bytes(b"\xff\n")
    assert "cannot be read: " in refusal(tmp_path)


def test_dynamic_picture_sides_and_class_counts(tmp_path: Path) -> None:
    document = changed("inputs.0.shape", [-1, 3, -1, -1])
    document["outputs"][0]["shape"] = [-1, -1]
    assert manifest.read(write(tmp_path, document)).inputs[0].shape == [-1, 3, -1, -1]


def test_folder_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert manifest.folder_of("digits") == manifest.HERE / "digits"
    support.write_folder(tmp_path / "mine", support.doubling())
    assert manifest.folder_of(str(tmp_path / "mine")) == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    assert manifest.folder_of("mine") == tmp_path / "mine"
    with pytest.raises(
        ManifestError, match=r"'yours' is neither a model here \(digits, fraud, mobilenetv2\) nor a folder"
    ):
        manifest.folder_of("yours")


VALUES = st.recursive(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.integers(),
        st.booleans(),
        st.floats(),
        st.sampled_from(["FP32", "input", "scores", "NHWC", "labels.txt", "..", "/", "\0"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "shape", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PATHS = [*GOOD, *(f"{table}.{key}" for table in ("file", "image") for key in GOOD[table])]
PATHS += [f"{side}.0.{key}" for side in ("inputs", "outputs") for key in ("name", "datatype", "shape")]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), value=VALUES)
def test_any_value_anywhere_is_read_or_refused(path: str, value: Any, tmp_path: Path) -> None:
    try:
        found = manifest.read(write(tmp_path, changed(path, value)))
    except ManifestError:
        return
    assert found.image is None or len(found.image.mean) == 3
    assert all(isinstance(size, int) for spec in found.inputs for size in spec.shape)


@pytest.mark.parametrize("values", [5, "x", [], None])
def test_a_table_that_is_none(values: Any) -> None:
    with pytest.raises(TableError, match="here should be a table"):
        make(File, "here ", values)


def test_a_path_is_not_taken_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "model.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert manifest.folder_of("./digits") == tmp_path / "digits"
    assert manifest.folder_of("digits") != tmp_path / "digits"
