"""The model repository: which models there are, and what each one takes and gives, without loading any."""

from __future__ import annotations

import os
import zlib

from function.errors import PredictError
from function.native import cjson
from function.tensor import ImageRule, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 3  # of prepared/model.json and artifact.json
LONGEST_NAME = 63  # as UTF-8 at most 252 bytes: file systems take 255


class Metadata:
    """model.toml as `models.prepare` compiled it: names, specs, labels, and how a picture becomes the input."""

    def __init__(self, folder: str, document: dict[str, Any], crc32: int) -> None:
        self.folder = folder  # <repository>/<name>/prepared
        self.crc32 = crc32  # of model.json: artifact.json records which one it was built with
        self.name: str = document["name"]
        self.version: str = document["version"]
        self.description: str = document["description"]
        self.sha256: str = document["sha256"]
        self.fingerprint: str = document["fingerprint"]  # of all that `models.prepare` made this from
        self.labels: list[str] = document["labels"]
        self.missing: str = document.get("missing", "")  # "nan": null stands for NaN
        self.inputs = _specs(document["inputs"], self.missing)
        self.outputs = _specs(document["outputs"], self.missing)
        image = document["image"]
        self.image = ImageRule(**image) if image else None
        # The tables of model.toml of these names, None without one:
        self.table: dict[str, Any] | None = document.get("table")
        self.text: dict[str, Any] | None = document.get("text")
        self.processing: dict[str, Any] | None = document.get("processing")
        self.features: list[dict[str, Any]] | None = document.get("features")
        self.upstream: dict[str, Any] | None = document.get("upstream")  # where a model is that is not here
        self.example: dict[str, dict[str, Any]] = document.get("example") or {}  # sizes of the golden input
        self.portable_only: bool = document.get("portable_only", False)  # too large to be laid out for each CPU family
        self.int8 = "int8" in document  # prepared with --int8: there is an artifact of 8-bit integers as well
        self.loaded_by_request = False  # by POST /v1/models, or fetched: not part of what was deployed


def _specs(rows: list[dict[str, Any]], missing: str) -> dict[str, Spec]:
    return {
        row["name"]: Spec(
            row["name"],
            row["datatype"],
            tuple(row["shape"]),
            nullable=missing == "nan" and row["datatype"] in ("FP64", "FP32", "FP16"),
        )
        for row in rows
    }


def prepare_command(folder: str) -> str:
    """What mends a model folder; `folder` is its prepared/ folder."""
    from shlex import quote  # 2 ms, and only where something is damaged

    return f"zeroserve prepare {quote(os.path.dirname(folder))}"


def names(repository: str) -> list[str]:
    """The names of the model folders, prepared or not, sorted."""
    try:
        entries = sorted(os.listdir(repository))
    except OSError as error:
        raise PredictError("UNAVAILABLE", f"the model repository cannot be read: {error}") from error
    return [
        name
        for name in entries
        if os.path.exists(_document_path(repository, name)) or _has_manifest(os.path.join(repository, name))
    ]


def _document_path(repository: str, name: str) -> str:
    return os.path.join(repository, name, "prepared", "model.json")


def _has_manifest(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "model.toml"))


def read(repository: str, name: str, folder: str | None = None) -> Metadata:
    """The model `name` in the model folder `folder`, without one in the repository's folder of that name.

    PredictError NOT_FOUND for an unknown model, UNAVAILABLE for one that is damaged or not prepared, and for one of
    another name; INVALID_ARGUMENT for that where a caller named the folder.
    """
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or len(name) > LONGEST_NAME:
        rule = f"model names have 1 to {LONGEST_NAME} printable characters and no '/'"
        raise PredictError("NOT_FOUND", f"{rule}; {name[:LONGEST_NAME]!r} came")
    path = _document_path(repository, folder or name)
    code, folder = "INVALID_ARGUMENT" if folder else "UNAVAILABLE", os.path.dirname(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
        metadata = Metadata(folder, _checked(cjson.loads(content), FORMAT), zlib.crc32(content))
    except (FileNotFoundError, NotADirectoryError):
        # What is deployed has no model.toml, but prepared/ is there even when model.json is not.
        if _has_manifest(os.path.dirname(folder)) or os.path.isdir(folder):
            raise PredictError(
                "UNAVAILABLE", f"model {name!r} is not prepared; run: {prepare_command(folder)}"
            ) from None
        known = ", ".join(names(repository)) or "none"
        raise PredictError("NOT_FOUND", f"there is no model {name!r}; the models here are: {known}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno == 36:  # ENAMETOOLONG, without the import of errno for it
            raise PredictError("NOT_FOUND", f"there is no model {name!r} in a folder of so long a name") from None
        raise PredictError("UNAVAILABLE", f"{path} is damaged ({error!r}); run: {prepare_command(folder)}") from error
    if metadata.name != name:
        held = os.path.dirname(folder)
        raise PredictError(code, f"{held} holds the model {metadata.name!r}, not {name!r}; rename one of the two")
    return metadata


def _checked(document: Any, expected: int) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("format") != expected:
        raise ValueError(f"format {expected} expected")
    return document
