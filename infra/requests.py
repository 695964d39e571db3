"""Requests to a model: the recorded example or what somebody gives, and the route that it goes to."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from models import raw
from models.example import FILE
from models.manifest import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import Manifest

JSON = "application/json"
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
_PICTURES = (b"\xff\xd8", b"\x89PNG", b"RIFF")
_HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc")


@dataclass(frozen=True)
class Call:
    """A POST: the path with the model's name in it, percent-encoded, the body, and its media type."""

    path: str
    body: bytes
    media_type: str


def quoted(model: Manifest) -> str:
    """How the model is named on a command line."""
    from models import manifest, places

    known = manifest.names() if model.folder.parent in (places.repository(), places.EMBEDDED) else []
    return shlex.quote(model.name if model.name in known else str(model.folder))


def recorded(model: Manifest) -> Call:
    """The example of the model's folder, or the golden input as a request; ManifestError when JSON has no such one."""
    path = model.folder / FILE
    if path.is_file():
        return call(model, path.read_bytes(), str(path))
    if model.upstream:
        said = [{"role": "user", "content": "Say hello."}]
        return Call(CHAT, json.dumps({"model": model.name, "messages": said}).encode(), JSON)
    from function.tensor import Spec
    from models.adding import request

    specs = {spec.name: Spec(spec.name, spec.datatype, tuple(spec.shape)) for spec in model.inputs}
    document = request.body(specs, raw.examples(model))
    if document is None:
        raise ManifestError(f"{model.name} takes BF16, which JSON does not have; send binary tensors (docs/api.md)")
    return call(model, json.dumps(document).encode(), "the golden input")


def given(model: Manifest, path: Path) -> Call:
    """A file as a request; ManifestError when it cannot be read or is nothing that a model takes."""
    try:
        return call(model, path.read_bytes(), str(path))
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}; name a file to send") from error


def call(model: Manifest, body: bytes, source: str) -> Call:
    """The request that a body is, by what it begins with and which members it has."""
    name = quote(model.name, safe="")
    if body.startswith(_PICTURES) or any(brand in body[:16] for brand in _HEIC):
        return _picture(model, name, body)
    if source.endswith(".csv"):
        return Call(f"/v1/models/{name}:predict", body, "text/csv")
    try:
        document: Any = json.loads(body)
    except ValueError as error:
        raise ManifestError(f"{source} is neither a JPEG, PNG or WebP picture nor JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestError(f"{source} should be a JSON object: " + '{"inputs": [...]} or {"instances": [...]}')
    return Call(_route(model, name, document), body, JSON)


def _route(model: Manifest, name: str, document: dict[str, Any]) -> str:
    if model.upstream:
        return CHAT if "messages" in document else "/v1/completions" if "prompt" in document else EMBEDDINGS
    if document.keys() & {"instances", "dataframe_split", "dataframe_records"}:
        return f"/v1/models/{name}:predict"
    if model.text and "input" in document:
        return EMBEDDINGS
    inputs = document.get("inputs")
    if isinstance(inputs, list) and inputs and all(isinstance(each, dict) for each in inputs):
        return f"/v2/models/{name}/infer"
    return f"/v1/models/{name}/{'classify' if 'image' in document else 'infer'}"


def _picture(model: Manifest, name: str, body: bytes) -> Call:
    route = ":predict" if model.processing and not model.image else "/classify"  # :predict: its own code reads it
    return Call(f"/v1/models/{name}{route}", body, "application/octet-stream")


def curl_lines(model: Manifest, url: str) -> list[str]:
    """Lines that ask a server at `url`."""
    lines = []
    if (model.folder / FILE).is_file():
        found = recorded(model)
        header = f"-H {shlex.quote('Content-Type: ' + found.media_type)}"
        lines.append(f"curl {header} --data-binary @{shlex.quote(str(model.folder / FILE))} {url}{found.path}")
    elif model.upstream:
        found = recorded(model)
        lines.append(f"curl -H 'Content-Type: {JSON}' -d {shlex.quote(found.body.decode())} {url}{found.path}")
    if model.image:
        lines.append(f"curl --data-binary @PICTURE '{url}/v1/models/{quote(model.name, safe='')}/classify?top_k=3'")
    return lines
