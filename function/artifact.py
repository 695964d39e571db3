"""From a prepared model to the one artifact that is safe to load here: this CPU's, or the portable one."""

from __future__ import annotations

import json
import os

from function import cpu
from function.errors import PredictError
from function.repository import FORMAT, prepare_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.repository import Metadata

PORTABLE = "portable"
GRAPH = "model.onnx"


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


class _MismatchError(Exception):
    """Why an artifact must not be loaded here."""


def choose(model: Metadata, ort_version: str, available: frozenset[str]) -> Artifact:
    """The artifact of the CPU's family if everything matches, else the portable one and a warning that says why.

    PredictError UNAVAILABLE when the portable one does not match either. A graph laid out for another CPU family
    predicts wrong classes without any error, so nothing is loaded on trust.
    """
    family, warning = cpu.family(available), None
    try:
        if family is None:
            raise _MismatchError(f"no artifact family fits the CPU flags {sorted(available)}")
        return Artifact(*_check(model, family, ort_version, available), warning)
    except _MismatchError as mismatch:
        warning = (
            f"{mismatch}; the portable artifact serves, loading takes longer. To mend: {prepare_command(model.folder)}"
        )
    try:
        return Artifact(*_check(model, PORTABLE, ort_version, available), warning)
    except _MismatchError as mismatch:
        raise PredictError(
            "UNAVAILABLE",
            f"model {model.name!r} cannot be loaded: {mismatch}; run: {prepare_command(model.folder)}",
        ) from None


def _check(
    model: Metadata, family: str, ort_version: str, available: frozenset[str]
) -> tuple[str, str, dict[str, Any]]:
    folder = os.path.join(model.folder, family)
    path = os.path.join(folder, "artifact.json")
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
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
            if document[key] != value and not (family == PORTABLE and key == "ort_version"):
                raise _MismatchError(f"{path}: {key} is {document[key]!r}, here it is {value!r}")
        missing = set(document["flags"]) - available
        if missing and family != PORTABLE:
            raise _MismatchError(f"{path}: the CPU lacks {sorted(missing)}")
        check_files(folder, document["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _MismatchError(f"{path} is missing or damaged ({error!r})") from error
    return folder, family, document


def check_files(folder: str, files: dict[str, dict[str, Any]]) -> None:
    """Size and CRC-32 of each file (a path relative to `folder`) against artifact.json's record of it.

    CRC-32 finds a flipped bit in 14 MB within 3.5 ms, a third of what sha256 takes; `models.verify` does sha256.
    """
    import mmap
    import zlib

    for name, expected in files.items():
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != expected["bytes"]:
                raise _MismatchError(f"{path} has {size} bytes, not {expected['bytes']}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if zlib.crc32(content) != expected["crc32"]:
                    raise _MismatchError(f"{path} is damaged: its CRC-32 is not the one of artifact.json")
