"""What all artifacts of a model share: model.json, the picture graph, what tables, texts, features and hooks add."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from function.engine.repository import FORMAT
from models import graphs, raw
from models.declared import PROCESSING
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from models.manifest import Manifest


def write_shared(
    model: Manifest, target: Path, families: list[str], stamp: Mapping[str, Any], *, portable_only: bool
) -> list[str]:
    """Writes model.json, which ends in `stamp`, and the graph for pictures into `target`. Returns the files' names."""
    small = {}
    if model.image:
        small["image.onnx"] = graphs.image(model.image)
    written = {name: graph.SerializeToString(deterministic=True) for name, graph in small.items()}
    written |= files(model)
    document = {
        "format": FORMAT,
        "name": model.name,
        "version": model.version,
        "description": model.description,
        "licence": model.licence,
        "source": model.source,
        "sha256": model.file.sha256,
        "inputs": [asdict(spec) for spec in model.inputs],
        "outputs": [asdict(spec) for spec in model.outputs],
        "image": asdict(model.image) if model.image else None,
        **tables(model),
        "labels": model.labels,
        "example": raw.examples(model),
        "families": families,
        "portable_only": portable_only,
        **stamp,
    }
    written["model.json"] = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    for name, content in written.items():
        (target / name).write_bytes(content)
    return sorted(written)


def tables(model: Manifest) -> dict[str, Any]:
    """The entries of model.json; none for a model that has nothing of it."""
    found: dict[str, Any] = {"missing": model.missing} if model.missing else {}
    for name in ("table", "text", "processing"):
        table = getattr(model, name)
        if table is not None:
            found[name] = asdict(table)
    if model.features:
        found["features"] = [asdict(view) for view in model.features]
    if model.text:
        found["text"]["crc32"] = zlib.crc32(files(model)["tokenizer.json"])
    return found


def files(model: Manifest) -> dict[str, bytes]:
    """Name -> content of the files that all artifacts of the model share, beside the small graphs of every model."""
    found: dict[str, bytes] = {}
    if model.text:
        found["tokenizer.json"] = _tokenizer(model.folder / model.text.tokenizer)
        found["text.onnx"] = graphs.text(model.text, _width(model)).SerializeToString(deterministic=True)
    for view in model.features:
        if view.file:
            found[view.file] = (model.folder / view.file).read_bytes()
    if model.processing:
        for name in (PROCESSING, *model.processing.files):
            found[name] = (model.folder / name).read_bytes()
    return found


def _tokenizer(path: Path) -> bytes:
    """The file's content, once the package that will read it has; ManifestError when it cannot."""
    content = path.read_bytes()
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ManifestError("[text] needs the package tokenizers; run: pip install tokenizers") from None
    try:
        Tokenizer.from_str(content.decode())
    except Exception as error:  # the package raises Exception itself
        raise ManifestError(f"{path} is no tokenizer that can be used: {error}") from error
    return content


def _width(model: Manifest) -> int:
    """Numbers of an embedding, or classes; -1: any."""
    return next(spec.shape[-1] for spec in model.outputs if model.text and spec.name == model.text.output)
