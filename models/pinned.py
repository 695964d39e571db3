"""The files that model.toml pins: the raw ONNX file, and those beside it that it keeps weights in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from models.table import TableError


@dataclass(frozen=True)
class File:
    """The raw ONNX file: `sources` are URLs to pull it from; empty when it lies in the folder already."""

    name: str
    bytes: int
    sha256: str
    sources: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_sha256("[file]", self.sha256)
        if "/" in self.name or self.bytes < 1:
            raise TableError("[file] name must be a file of this folder, and bytes its size")


@dataclass(frozen=True)
class External:
    """A file of weights beside the raw one; `name` is relative to the folder, as the graph has it."""

    name: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _check_sha256("[[external]]", self.sha256)
        if not self.name or Path(self.name).is_absolute() or ".." in Path(self.name).parts:
            raise TableError(f"[[external]] name is {self.name!r}; a path inside this folder is expected")


def _check_sha256(where: str, sha256: str) -> None:
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise TableError(f"{where} sha256 is {sha256!r}; 64 lower-case hexadecimal digits are expected")
