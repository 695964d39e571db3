"""artifact.json: what a build writes about one artifact, and how the files are held against it later."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

from function.engine import golden
from function.engine.artifact import RECORD, MismatchError, check_files, read_record, sealed
from function.engine.repository import FORMAT
from function.native import cpu
from function.native.ort_capi import get_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from models.manifest import Manifest


def write(
    model: Manifest, folder: Path, family: str, shared: Iterable[str], expected: Mapping[str, list[float]]
) -> None:
    """Records the files in `folder`, the `shared` ones beside it, and the raw model's answer to the golden input."""
    files = {}
    for name in (*sorted(path.name for path in folder.iterdir()), *(f"../{name}" for name in shared)):
        content = (folder / name).read_bytes()
        files[name] = {
            "bytes": len(content),
            "crc32": zlib.crc32(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    record = {
        "format": FORMAT,
        "model": model.name,
        "version": model.version,
        "model_sha256": model.file.sha256,
        "family": family,
        "flags": sorted(cpu.FAMILIES.get(family, ())),
        "ort_version": get_library().version,
        "files": files,
        "golden": {"seed": golden.SEED, "outputs": expected},
    }
    (folder / RECORD).write_bytes(sealed(record))


def problem(folder: Path) -> str | None:
    """None when the artifact is the folder's and has the recorded sha256s, else a sentence that says why not."""
    try:
        document = read_record(str(folder))
        check_files(str(folder), document["files"], sha256=True)
    except MismatchError as mismatch:
        return str(mismatch)
    if document["family"] != folder.name:
        return f"{folder} holds the artifact of {document['family']}"
    return None
