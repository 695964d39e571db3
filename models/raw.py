"""The raw ONNX file, held against its model.toml, and its answer to the golden input."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from function.engine import golden
from function.engine.session import OPTIMISE_BASIC, Session
from function.native.ort_capi import OrtError
from models.manifest import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import Manifest
    from models.pinned import External, File


def answer(model: Manifest) -> dict[str, list[float]]:
    """The raw model's answer to the golden input, after checking the file and its tensors against model.toml."""
    if not model.path.is_file():
        hint = f"; run: zeroserve pull {model.folder}" if model.file.sources else ""
        raise ManifestError(f"{model.path} is missing{hint}")
    _check_file(model.path, model.file)
    for external in model.external:
        _check_file(model.folder / external.name, external)
    try:
        session = Session(str(model.path), optimise=OPTIMISE_BASIC, threads=1)
    except OrtError as error:
        raise ManifestError(f"{model.path} is not a model that can be served: {error}") from error
    for side, said, found in (
        ("inputs", model.inputs, session.inputs),
        ("outputs", model.outputs, session.outputs),
    ):
        described = {spec.name: (spec.datatype, tuple(spec.shape)) for spec in said}
        actual = {name: (spec.datatype, spec.shape) for name, spec in found.items()}
        if described != actual:
            raise ManifestError(f"the {side} of {model.path} are {actual}; model.toml says {described}")
    try:
        return golden.answer(session.run(golden.inputs(session.inputs, example=examples(model))))
    except OrtError as error:
        raise ManifestError(
            f"{model.path} cannot run the golden input: {str(error).strip()}; "
            "give other sizes in [example] of model.toml"
        ) from error


def examples(model: Manifest) -> dict[str, dict[str, Any]]:
    """[example] as model.json has it, and as golden.inputs takes it."""
    return {name: asdict(each) for name, each in model.example.items()}


def _check_file(path: Path, said: File | External) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}; put it there") from error
    if (size, digest) != (said.bytes, said.sha256):
        raise ManifestError(
            f"{path} has {size} bytes and sha256 {digest}; model.toml says {said.bytes} and {said.sha256}"
        )
