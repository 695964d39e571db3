"""artifact.json: what a build writes about one artifact, and how the files are held against it later."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any

from function.engine import golden
from function.engine.artifact import RECORD, MismatchError, check_files, read_record, sealed
from function.engine.repository import FORMAT
from function.native import cpu
from function.native.ort_capi import get_library

PIECE = 1 << 20  # bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from models.manifest import Manifest


def write(
    model: Manifest,
    folder: Path,
    shared: Iterable[str],
    expected: Mapping[str, list[float]],
    int8: Mapping[str, Any] | None = None,
) -> None:
    """Records the artifact of the family `folder.name`: the files in it and the `shared` ones beside it, the answer to
    the golden input that is expected, and of 8-bit integers what was measured."""
    files = {}
    for name in (*sorted(_names(folder)), *(f"../{name}" for name in shared)):
        files[name] = _described(folder / name)
    record = {
        "format": FORMAT,
        "model": model.name,
        "version": model.version,
        "model_sha256": model.file.sha256,
        "family": folder.name,
        "flags": sorted(cpu.FAMILIES.get(folder.name, ())),
        "ort_version": get_library().version,
        "files": files,
        "golden": {"seed": golden.SEED, "outputs": expected},
    }
    if int8 is not None:
        record["int8"] = dict(int8)
    (folder / RECORD).write_bytes(sealed(record))


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _described(path: Path) -> dict[str, Any]:
    """Read in pieces: weights may be larger than memory."""
    size, crc32, sha256 = 0, 0, hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            size, crc32 = size + len(piece), zlib.crc32(piece, crc32)
            sha256.update(piece)
    return {"bytes": size, "crc32": crc32, "sha256": sha256.hexdigest()}


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
