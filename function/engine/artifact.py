"""From a prepared model to the one artifact that is safe to load here: this CPU's, or the portable one."""

from __future__ import annotations

import json
import os
import zlib

from function.engine.repository import FORMAT, prepare_command
from function.errors import PredictError
from function.native import cpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from function.engine.repository import Metadata

PORTABLE = "portable"
GRAPH = "model.onnx"
RECORD = "artifact.json"
_SEAL = b',"crc32":'  # the record's last member: the CRC-32 of all bytes before it


def optimise_level(family: str) -> int:
    """GraphOptimizationLevel to load it with: none for a finished graph; all for the portable one, whose layout ORT
    still has to choose (run as it is, it would be three times slower)."""
    return 99 if family == PORTABLE else 0


class Artifact:
    """A checked artifact: `graph` is the path to load; `layout` is finished unless the family is portable."""

    __slots__ = ("document", "family", "folder", "graph", "warning")

    def __init__(self, folder: str, family: str, document: dict[str, Any], warning: str | None) -> None:
        self.folder, self.family, self.document, self.warning = folder, family, document, warning
        self.graph = os.path.join(folder, GRAPH)


class MismatchError(Exception):
    """Why an artifact must not be loaded here."""


def sealed(document: dict[str, Any]) -> bytes:
    """A record as artifact.json holds it; edited by hand, say for another family, it no longer passes `read_record`."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return body + _SEAL + b"%d}\n" % zlib.crc32(body)


def read_record(folder: str) -> dict[str, Any]:
    """The artifact.json of an artifact's folder; MismatchError when it is missing or is not what was written."""
    path = os.path.join(folder, RECORD)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise MismatchError(str(error)) from error
    body, _, seal = content.rpartition(_SEAL)
    if seal != b"%d}\n" % zlib.crc32(body):
        raise MismatchError(f"{path} is damaged or was edited: its CRC-32 is wrong")
    document: dict[str, Any] = json.loads(content)
    return document


def choose(model: Metadata, ort_version: str, available: frozenset[str]) -> Artifact:
    """The artifact of the CPU's family if everything matches, else the portable one and a warning that says why.

    PredictError UNAVAILABLE when the portable one does not match either. A graph laid out for another CPU family
    predicts wrong classes without any error, so nothing is loaded on trust.
    """
    family, warning = cpu.family(available), None
    try:
        if family is None:
            raise MismatchError(f"no artifact family fits the CPU flags {sorted(available)}")
        return Artifact(*_check(model, family, ort_version, available), warning)
    except MismatchError as mismatch:
        warning = (
            f"{mismatch}; the portable artifact serves, loading takes longer. To mend: {prepare_command(model.folder)}"
        )
    try:
        return Artifact(*_check(model, PORTABLE, ort_version, available), warning)
    except MismatchError as mismatch:
        raise PredictError(
            "UNAVAILABLE",
            f"model {model.name!r} cannot be loaded: {mismatch}; run: {prepare_command(model.folder)}",
        ) from None


def _check(
    model: Metadata, family: str, ort_version: str, available: frozenset[str]
) -> tuple[str, str, dict[str, Any]]:
    folder = os.path.join(model.folder, family)
    path = os.path.join(folder, RECORD)
    document = read_record(folder)
    expected = {
        "format": FORMAT,
        "model": model.name,
        "version": model.version,
        "model_sha256": model.sha256,
        "family": family,
        "ort_version": ort_version,
    }
    for key, value in expected.items():
        # Any ORT of the API's line finishes a portable graph, which has no layout of its own yet.
        if document.get(key) != value and not (family == PORTABLE and key == "ort_version"):
            raise MismatchError(f"{path}: {key} is {document.get(key)!r}, here it is {value!r}")
    missing = set(document["flags"]) - available
    if missing and family != PORTABLE:
        raise MismatchError(f"{path}: the CPU lacks {sorted(missing)}")
    check_files(folder, document["files"])
    if document["files"]["../model.json"]["crc32"] != model.crc32:
        raise MismatchError(f"{path}: model.json was replaced while the model was loaded; ask again")
    return folder, family, document


def check_files(folder: str, files: dict[str, dict[str, Any]], *, sha256: bool = False) -> None:
    """Size and CRC-32 of each file (a path relative to `folder`) against artifact.json's record; MismatchError.

    CRC-32 finds a flipped bit in 14 MB within 3.5 ms, a third of what sha256 takes.
    """
    import mmap

    for name, expected in files.items():
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != expected["bytes"]:
                    raise MismatchError(f"{path} has {size} bytes, not {expected['bytes']}")
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if zlib.crc32(content) != expected["crc32"]:
                        raise MismatchError(f"{path} is damaged: its CRC-32 is not the one of artifact.json")
                    if sha256:
                        _check_sha256(path, content, expected["sha256"])
        except OSError as error:
            raise MismatchError(str(error)) from error


def _check_sha256(path: str, content: Buffer, expected: str) -> None:
    import hashlib

    if hashlib.sha256(content).hexdigest() != expected:
        raise MismatchError(f"{path} is damaged: its sha256 is not the one of artifact.json")
