"""The model repository: which models there are, and what each one takes and gives, without loading any."""

from __future__ import annotations

import json
import os

from function.errors import PredictError
from function.tensor import Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1  # of prepared/model.json and artifact.json


class Metadata:
    """model.toml as `models.prepare` compiled it: names, specs, labels, and how a picture becomes the input."""

    def __init__(self, folder: str, document: dict[str, Any]) -> None:
        self.folder = folder  # <repository>/<name>/prepared
        self.name: str = document["name"]
        self.version: str = document["version"]
        self.description: str = document["description"]
        self.sha256: str = document["sha256"]
        self.labels: list[str] = document["labels"]
        self.inputs = _specs(document["inputs"])
        self.outputs = _specs(document["outputs"])
        self.image: dict[str, Any] | None = document["image"]  # [image] of model.toml


def _specs(rows: list[dict[str, Any]]) -> dict[str, Spec]:
    return {row["name"]: Spec(row["name"], row["datatype"], tuple(row["shape"])) for row in rows}


def prepare_command(folder: str) -> str:
    """What mends a model folder; `folder` is its prepared/ folder."""
    return f"python -m models.prepare {os.path.dirname(folder)}"


def names(repository: str) -> list[str]:
    """The names of the prepared models, sorted."""
    try:
        entries = sorted(os.listdir(repository))
    except OSError as error:
        raise PredictError("UNAVAILABLE", f"the model repository cannot be read: {error}") from error
    return [name for name in entries if os.path.exists(_document_path(repository, name))]


def _document_path(repository: str, name: str) -> str:
    return os.path.join(repository, name, "prepared", "model.json")


def read(repository: str, name: str) -> Metadata:
    """PredictError NOT_FOUND for an unknown model, UNAVAILABLE for one that is damaged or not prepared."""
    path = _document_path(repository, name)
    folder = os.path.dirname(path)
    if "/" in name or name in ("", ".", ".."):
        raise PredictError("NOT_FOUND", f"model names hold no '/' and are not empty; {name!r} came")
    try:
        with open(path, "rb") as file:
            metadata = Metadata(folder, _checked(json.loads(file.read()), FORMAT))
    except FileNotFoundError:
        if os.path.exists(os.path.join(repository, name, "model.toml")):
            raise PredictError(
                "UNAVAILABLE", f"model {name!r} is not prepared; run: {prepare_command(folder)}"
            ) from None
        known = ", ".join(names(repository)) or "none"
        raise PredictError("NOT_FOUND", f"there is no model {name!r}; the models here are: {known}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PredictError("UNAVAILABLE", f"{path} is damaged ({error!r}); run: {prepare_command(folder)}") from error
    if metadata.name != name:
        raise PredictError(
            "UNAVAILABLE", f"the folder {name!r} holds the model {metadata.name!r}; rename one of the two"
        )
    return metadata


def _checked(document: Any, expected: int) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("format") != expected:
        raise ValueError(f"format {expected} expected")
    return document
