"""The file that is added: what it is, its graph without the weights beside it, and those files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from models.adding.words import AddError

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto, TensorProto

LARGEST = 2**31 - 1  # bytes of one protobuf message; more weights than that lie in files beside it
# First bytes of files that are taken for ONNX files, and what to do with them.
_OTHERS = (
    (b"\x80", "a pickle; export the model first: skl2onnx.to_onnx(model, X[:1]) for scikit-learn"),
    (b"PK\x03\x04", "a zip, as PyTorch and Keras write it; export the model first: torch.onnx.export(...)"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it; export the model first with tf2onnx"),
    (b"GGUF", "a GGUF file, which llama.cpp runs; ONNX Runtime does not"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run: git lfs pull"),
    (b"<", "a web page or XML; download the file itself"),
    (b"{", "JSON; for LightGBM and XGBoost, export the model with onnxmltools"),
    (b"tree\n", "a LightGBM text model; export it with onnxmltools"),
)


@dataclass(frozen=True)
class Source:
    """A parsed ONNX file; `external` are the files beside it that it keeps weights in, as it names them."""

    path: Path
    model: ModelProto
    external: list[str]


def read(path: Path) -> Source:
    """The file's graph; AddError when it is missing, no ONNX file, cut short, or lacks a file beside it."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise AddError(f"{path} is a folder; name the .onnx file in it")
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise AddError(f"{path} cannot be read: {error.strerror}; name an ONNX file") from error
    if not size:
        raise AddError(f"{path} is not an ONNX file but an empty one; export the model again, or get the whole file")
    for start, what in _OTHERS:
        if head.startswith(start):
            raise AddError(f"{path} is not an ONNX file but {what}")
    if size > LARGEST:
        raise AddError(f"{path} has {size:,} bytes, at most {LARGEST:,} fit; save it with external data")
    model = _parsed(path, size, head)
    external = sorted({_location(path, tensor) for tensor in _tensors(model) if tensor.external_data})
    for name in external:
        if not (path.parent / name).is_file():
            raise AddError(
                f"{path} keeps weights in {name!r}, which is not beside it; put that file into {path.parent}"
            )
    _check_lengths(path, model)
    return Source(path, model, external)


def _parsed(path: Path, size: int, head: bytes) -> ModelProto:
    cut = f"{path} is not a whole ONNX file: its {size:,} bytes are cut short or damaged; get the file again"
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, RuntimeError) as error:
        if head[:1] == b"\x08":  # field 1, the IR version, with which exporters begin
            raise AddError(cut) from error
        raise AddError(f"{path} is not an ONNX file; export the model to ONNX first") from error
    if not model.ir_version or not (model.graph.output or model.graph.node):
        raise AddError(cut if head[:1] == b"\x08" else f"{path} is not an ONNX file; export the model to ONNX first")
    return model


def _tensors(model: ModelProto) -> list[TensorProto]:
    """Initializers and constants, those of subgraphs among them."""
    found, graphs = [], [model.graph]
    while graphs:
        graph = graphs.pop()
        found += graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                found += [attribute.t] if attribute.HasField("t") else []
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += attribute.graphs
    return found


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _location(path: Path, tensor: TensorProto) -> str:
    location = _entries(tensor).get("location", "")
    target = (path.parent / location).resolve()
    if not location or not target.is_relative_to(path.parent.resolve()):
        raise AddError(
            f"{path} keeps weights in {location!r}, outside of its folder; save it with its external data beside it"
        )
    return location


def _check_lengths(path: Path, model: ModelProto) -> None:
    for tensor in _tensors(model):
        if tensor.external_data:
            entries = _entries(tensor)
            end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
            size = (path.parent / entries["location"]).stat().st_size
            if end > size:
                raise AddError(
                    f"{path.parent / entries['location']} is cut short: it has {size:,} bytes, and {path.name} reads "
                    f"up to byte {end:,}; get the file again"
                )
