"""From a prepared model to the one artifact that is safe to load here: this CPU's, or the portable one."""

from __future__ import annotations

import os
import zlib

from function.engine.repository import FORMAT, prepare_command
from function.errors import PredictError
from function.native import cjson, cpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from function.engine.repository import Metadata

PORTABLE = "portable"
GRAPH = "model.onnx"
RECORD = "artifact.json"
ALIKE = "alike.json"  # of a package: names of families
_SHARED = "../"  # of the files that all artifacts of a model share
_SEAL = b',"crc32":'  # the record's last member: the CRC-32 of all bytes before it


def optimise_level(family: str) -> int:
    """GraphOptimizationLevel to load it with: none for a finished graph; all for the portable one, whose layout ORT
    still has to choose (run as it is, it would be three times slower)."""
    return 99 if family == PORTABLE else 0


class Artifact:
    """A checked artifact: `graph` is the path to load, `graphs` are the small ones beside it, by name.

    `weights` are the files of external data that shall not be mapped.
    """

    __slots__ = ("_identity", "document", "family", "folder", "graph", "graphs", "warning", "weights")

    def __init__(self, folder: str, family: str, document: dict[str, Any], identity: tuple[int, int]) -> None:
        self.folder, self.family, self.document, self._identity = folder, family, document, identity
        self.graph = os.path.join(folder, GRAPH)
        self.warning: str | None = None
        self.graphs: dict[str, bytes] = {}
        self.weights: dict[str, bytes] = {}

    def is_current(self) -> bool:
        """Whether the folder is still the one that was checked, so that graph and weights are of one build."""
        try:
            return _identity(self.folder) == self._identity
        except MismatchError:
            return False


def _identity(folder: str) -> tuple[int, int]:
    """Device and inode; MismatchError when there is no such folder."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise MismatchError(str(error)) from error
    return status.st_dev, status.st_ino


class MismatchError(Exception):
    """Why an artifact must not be loaded here."""


def sealed(document: dict[str, Any]) -> bytes:
    """A record as artifact.json holds it; edited by hand, say for another family, it no longer passes `read_record`."""
    body = cjson.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
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
    document: dict[str, Any] = cjson.loads(content)
    return document


def choose(model: Metadata, ort_version: str, available: frozenset[str], *, mapped: bool = True) -> Artifact:
    """The artifact of the CPU's family if everything matches, else the portable one and a warning that says why.

    Where the model was prepared with --int8 and the CPU has VNNI, the artifact of 8-bit integers comes before these.
    Not `mapped`: its `weights` are in memory afterwards, the bytes that were checked.

    PredictError UNAVAILABLE when the portable one does not match either. A graph laid out for another CPU family
    predicts wrong classes without any error, so nothing is loaded on trust.
    """
    if not model.int8 or not cpu.has_vnni(available):
        return _choose_fp32(model, ort_version, available, mapped=mapped)
    try:
        return _check(model, cpu.INT8, ort_version, available, mapped=mapped)
    except MismatchError as mismatch:
        found = _choose_fp32(model, ort_version, available, mapped=mapped)
        command = f"{prepare_command(model.folder)} --int8"
        found.warning = f"{mismatch}; the {found.family} artifact serves, inference takes longer. To mend: {command}"
        return found


def _choose_fp32(model: Metadata, ort_version: str, available: frozenset[str], *, mapped: bool) -> Artifact:
    family, warning = PORTABLE if model.portable_only else cpu.family(available), None
    if family and family in _alike(model.folder):
        family = PORTABLE
    try:
        if family is None:
            raise MismatchError(f"no artifact family fits the CPU flags {sorted(available)}")
        return _check(model, family, ort_version, available, mapped=mapped)
    except MismatchError as mismatch:
        warning = (
            f"{mismatch}; the portable artifact serves, loading takes longer. To mend: {prepare_command(model.folder)}"
        )
    try:
        found = _check(model, PORTABLE, ort_version, available, mapped=mapped)
        found.warning = warning
    except MismatchError as mismatch:
        raise PredictError(
            "UNAVAILABLE",
            f"model {model.name!r} cannot be loaded: {mismatch}; run: {prepare_command(model.folder)}",
        ) from None
    return found


def _alike(folder: str) -> list[str]:
    """The families whose artifacts were left out of the package, since they have the portable one's very bytes."""
    try:
        with open(os.path.join(folder, ALIKE), "rb") as file:
            found: list[str] = cjson.loads(file.read())
            return found
    except (OSError, ValueError):
        return []


def _check(model: Metadata, family: str, ort_version: str, available: frozenset[str], *, mapped: bool) -> Artifact:
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
        # A portable graph has no CPU-specific layout yet: any version of ORT can finish it.
        if document.get(key) != value and not (family == PORTABLE and key == "ort_version"):
            raise MismatchError(f"{path}: {key} is {document.get(key)!r}, here it is {value!r}")
    missing = set(document["flags"]) - available
    if missing and family != PORTABLE:
        raise MismatchError(f"{path}: the CPU lacks {sorted(missing)}")
    found = Artifact(folder, family, document, _identity(folder))
    contents = check_files(folder, document["files"], mapped=mapped)
    if document["files"]["../model.json"]["crc32"] != model.crc32:
        raise MismatchError(f"{path}: model.json was replaced while the model was loaded; ask again")
    for name, content in contents.items():
        if name.startswith(_SHARED):
            if name.endswith(".onnx"):
                found.graphs[name.removeprefix(_SHARED)] = content
        elif name != GRAPH:
            found.weights[name] = content
    return found


def check_files(
    folder: str, files: dict[str, dict[str, Any]], *, sha256: bool = False, mapped: bool = True
) -> dict[str, bytes]:
    """Size and CRC-32 of each file (a path relative to `folder`) against artifact.json's record; MismatchError.

    Files are mapped for that; the small ones beside the folder, and all when not `mapped`, are read instead, and their
    bytes are returned. MemoryError when there is none for that.
    CRC-32 finds a flipped bit in 14 MB within 3.5 ms, a third of what sha256 takes.
    """
    import mmap

    contents: dict[str, bytes] = {}
    for name, expected in files.items():
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != expected["bytes"]:
                    raise MismatchError(f"{path} has {size} bytes, not {expected['bytes']}")
                if mapped and not name.startswith(_SHARED):
                    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                        _check_content(path, content, expected, sha256=sha256)
                else:
                    contents[name] = file.read()
                    _check_content(path, contents[name], expected, sha256=sha256)
        except OSError as error:
            import errno

            if error.errno == errno.ENOMEM:  # a mapping needs address space
                raise MemoryError(str(error)) from error
            raise MismatchError(str(error)) from error
    return contents


def _check_content(path: str, content: Buffer, expected: dict[str, Any], *, sha256: bool) -> None:
    if zlib.crc32(content) != expected["crc32"]:
        raise MismatchError(f"{path} is damaged: its CRC-32 is not the one of artifact.json")
    if sha256:
        import hashlib

        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise MismatchError(f"{path} is damaged: its sha256 is not the one of artifact.json")
