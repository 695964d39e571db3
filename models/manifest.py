"""model.toml: what a model is, read strictly; an unknown field is refused rather than ignored."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from function.tensor import DATATYPES
from models import declared, example, feature_views, places, upstreams
from models.pinned import External, File
from models.table import TableError, make

HERE = places.EMBEDDED
Row = TypeVar("Row")
LARGEST_SIDE = 16384  # pixels; PNG and JPEG end at 65,535


class ManifestError(Exception):
    """A model folder that cannot be used; the message names the field and what it should be."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: protocol datatype, shape with -1 where dynamic."""

    name: str
    datatype: str
    shape: list[int]

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise ManifestError(f"datatype of {self.name!r} is {self.datatype!r}; known are {', '.join(DATATYPES)}")
        if not all(size >= -1 for size in self.shape):
            raise ManifestError(
                f"shape of {self.name!r} is {self.shape}; whole numbers, -1 where dynamic, are expected"
            )


@dataclass(frozen=True)
class Image:
    """How a picture becomes the tensor `input`, and how the tensor `output` is read as classes."""

    input: str
    output: str
    size: list[int]
    mean: list[float]
    std: list[float]
    activation: str = "softmax"
    resize: str = "stretch"
    resize_to: int = 0
    filter: str = "bilinear"
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("activation", self.activation, ("softmax", "none")),
            ("resize", self.resize, ("stretch", "shorter_side")),
            ("filter", self.filter, ("nearest", "bilinear", "bicubic", "lanczos")),
            ("layout", self.layout, ("NCHW", "NHWC")),
        ):
            if value not in allowed:
                raise ManifestError(f"[image] {name} is {value!r}; one of {', '.join(allowed)} is expected")
        for name, numbers, length in (("size", self.size, 2), ("mean", self.mean, 3), ("std", self.std, 3)):
            if len(numbers) != length:
                raise ManifestError(f"[image] {name} is {numbers}; {length} numbers are expected")
        if not all(1 <= side <= LARGEST_SIDE for side in self.size) or 0 in self.std:
            raise ManifestError(f"[image] size must be 1 to {LARGEST_SIDE} each way and no std may be 0")
        if self.resize == "shorter_side" and self.resize_to < max(self.size):
            raise ManifestError(
                f"[image] resize_to is {self.resize_to}; at least {max(self.size)}, the crop, is expected"
            )


@dataclass(frozen=True)
class Manifest:
    """A model folder's model.toml; `labels` are the lines of the file it names."""

    folder: Path
    name: str
    version: str
    description: str
    licence: str
    source: str
    file: File
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    labels: list[str]
    image: Image | None
    external: list[External] = field(default_factory=list)
    example: dict[str, example.Example] = field(default_factory=dict)
    missing: str = ""
    table: declared.Table | None = None
    text: declared.Text | None = None
    processing: declared.Processing | None = None
    features: list[feature_views.View] = field(default_factory=list)
    int8: declared.Int8 = field(default_factory=declared.Int8)
    upstream: upstreams.Upstream | None = None  # then `file` is model.toml itself

    def __post_init__(self) -> None:
        if self.missing not in ("", "nan"):
            raise ManifestError(f'missing is {self.missing!r}; "nan" is expected: null then stands for NaN')

    @property
    def path(self) -> Path:
        """Where the raw ONNX file lies, or will."""
        return self.folder / self.file.name

    @property
    def prepared(self) -> Path:
        """What `models.prepare` makes and `function/` loads."""
        return self.folder / "prepared"


def folder_of(model: str) -> Path:
    """The folder for a name in this repository or a path to one that holds a model.toml; ./NAME is always a path."""
    folders = [places.repository() / model, places.embedded(model), Path(model)]
    for folder in folders[2:] if model.startswith(("./", "../")) else folders:
        if os.path.isfile(folder / "model.toml"):  # noqa: PTH113  (False for names too long for a file; Path's raises)
            return folder.resolve()
    known = ", ".join(names())
    raise ManifestError(f"{model!r} is neither a model here ({known}) nor a folder with a model.toml")


def names() -> list[str]:
    """The models of the repository, and those that come with the code."""
    folders = {places.repository(), places.EMBEDDED}
    return sorted({path.parent.name for folder in folders for path in folder.glob("*/model.toml")})


def own_names() -> list[str]:
    """The models of the repository that did not come with the code."""
    repository = places.repository()
    shipped = places.SHIPPED if repository == places.EMBEDDED else ()
    return sorted({path.parent.name for path in repository.glob("*/model.toml")}.difference(shipped))


def read(folder: Path) -> Manifest:
    """The manifest of `folder`; ManifestError says which field is missing, unknown or wrong."""
    path = folder / "model.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if "upstream" in document:
            document |= upstreams.of(document, folder)
        labels_file = document.pop("labels", "")
        if not isinstance(labels_file, str):
            raise ManifestError(f"labels is {labels_file!r}; the name of a file with one label a line is expected")
        labels = (folder / labels_file).read_text(encoding="utf-8").splitlines() if labels_file else []
        image = document.get("image")
        inputs, outputs = _rows(document, "inputs", TensorSpec), _rows(document, "outputs", TensorSpec)
        sent = declared.sent(document, folder, inputs, outputs)
        if "features" in document:
            sent["features"] = feature_views.read(document, folder, inputs, sent)
        manifest = make(
            Manifest,
            "",
            document
            | sent
            | {
                "folder": folder,
                "file": make(File, "[file] ", document.get("file", {})),
                "inputs": inputs,
                "outputs": outputs,
                "external": _rows(document, "external", External),
                "example": example.read(document.get("example", {}), inputs),
                "labels": labels,
                "int8": make(declared.Int8, "[int8] ", document.get("int8", {})),
                "image": make(Image, "[image] ", image) if image is not None else None,
            },
        )
        _check_image(manifest)
    except (OSError, ValueError) as error:  # not there, not UTF-8, not TOML
        raise ManifestError(f"{path} cannot be read: {error}") from error
    except (ManifestError, TableError) as error:
        raise ManifestError(f"{path}: {error}") from None
    return manifest


def _rows(document: dict[str, Any], name: str, kind: type[Row]) -> list[Row]:
    rows = document.get(name, [])
    if not isinstance(rows, list):
        raise ManifestError(f"{name} should be tables, each under [[{name}]]")
    return [make(kind, f"[[{name}]] ", row) for row in rows]


def _check_image(manifest: Manifest) -> None:
    image = manifest.image
    if image is None:
        return
    target = next((spec for spec in manifest.inputs if spec.name == image.input), None)
    scores = next((spec for spec in manifest.outputs if spec.name == image.output), None)
    height, width = image.size
    shape = [3, height, width] if image.layout == "NCHW" else [height, width, 3]
    if (
        target is None
        or target.datatype != "FP32"
        or target.shape[1:] not in (shape, [-1 if n != 3 else 3 for n in shape])
    ):
        raise ManifestError(f"[image] input must name an FP32 input of shape [-1, {', '.join(map(str, shape))}]")
    if scores is None or scores.datatype != "FP32" or len(scores.shape) != 2:
        raise ManifestError("[image] output must name an FP32 output of shape [-1, classes]")
    if manifest.labels and scores.shape[1] not in (-1, len(manifest.labels)):
        raise ManifestError(f"{len(manifest.labels)} labels for {scores.shape[1]} classes")
