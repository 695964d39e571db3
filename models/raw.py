"""The raw ONNX file, held against its model.toml, and its answer to the golden input."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from function.engine import golden
from function.engine.session import OPTIMISE_BASIC, Session
from function.native.ort_capi import OrtError
from models.manifest import ManifestError

if TYPE_CHECKING:
    from models.manifest import Manifest


def answer(model: Manifest) -> dict[str, list[float]]:
    """The raw model's answer to the golden input, after checking the file and its tensors against model.toml."""
    if not model.path.is_file():
        hint = f"; run: python -m models.pull {model.folder}" if model.file.sources else ""
        raise ManifestError(f"{model.path} is missing{hint}")
    size, digest = model.path.stat().st_size, hashlib.sha256(model.path.read_bytes()).hexdigest()
    if (size, digest) != (model.file.bytes, model.file.sha256):
        raise ManifestError(
            f"{model.path} has {size} bytes and sha256 {digest}; "
            f"model.toml says {model.file.bytes} and {model.file.sha256}"
        )
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
        return golden.answer(session.run(golden.inputs(session.inputs)))
    except OrtError as error:
        raise ManifestError(f"{model.path} cannot run the golden input: {error}") from error
