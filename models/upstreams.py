"""[upstream] of model.toml: a language model that is elsewhere, behind OpenAI's API."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from function.engine.repository import FORMAT
from models.pinned import File
from models.table import TableError, make

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import Manifest

_KEYS = ("env", "secretsmanager", "ssm")
_LOCAL = ("inputs", "outputs", "file", "external", "image", "table", "text", "features", "int8", "labels", "example")


@dataclass(frozen=True)
class Upstream:
    """Where it is and how it is asked; times are in seconds."""

    url: str
    model: str
    key: str = ""
    connect_s: float = 5.0
    first_token_s: float = 60.0
    between_tokens_s: float = 30.0
    whole_s: float = 600.0
    retries: int = 2
    fallbacks: list[str] = field(default_factory=list)
    concurrency: int = 0
    max_tokens: int = 0
    cache: bool = False

    def __post_init__(self) -> None:
        address(self.url)
        kind, _, name = self.key.partition(":")
        if self.key and (kind not in _KEYS or not name):
            raise TableError(
                f"[upstream] key is {self.key[:12]!r}...; where the key is kept is expected, never the key itself: "
                "env:VARIABLE, secretsmanager:NAME or ssm:NAME"
            )
        for name in ("connect_s", "first_token_s", "between_tokens_s", "whole_s"):
            if not 0 < getattr(self, name) <= 3600:
                raise TableError(
                    f"[upstream] {name} is {getattr(self, name)}; more than 0 and at most 3600 is expected"
                )
        for name in ("retries", "concurrency", "max_tokens"):
            if getattr(self, name) < 0:
                raise TableError(f"[upstream] {name} is {getattr(self, name)}; 0 or more is expected")
        if not self.model:
            raise TableError("[upstream] model is empty; the name that the upstream knows is expected")


def address(url: str) -> dict[str, Any]:
    """How `function/` takes a URL; TableError for one that is no http(s)://host[:port]/path."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise TableError(f"[upstream] url is {url!r}; such as https://api.openai.com/v1 is expected")
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise TableError(f"[upstream] url is {url!r}; percent-encode what is not ASCII in it")
    tls = parts.scheme == "https"
    return {"tls": tls, "host": parts.hostname, "port": port or (443 if tls else 80), "path": parts.path.rstrip("/")}


def of(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fields of a Manifest for a model.toml with [upstream]: what pins it is model.toml itself."""
    if there := [name for name in _LOCAL if name in document]:
        raise TableError(f"[upstream] is there, and {', '.join(there)}, which are for a model that is here")
    content = (folder / "model.toml").read_bytes()
    file = File("model.toml", len(content), hashlib.sha256(content).hexdigest())
    upstream = make(Upstream, "[upstream] ", document["upstream"])
    return {"upstream": upstream, "file": asdict(file), "inputs": [], "outputs": []}


def _record(model: Manifest) -> str:
    upstream = model.upstream
    assert upstream is not None  # noqa: S101
    document = {
        "format": FORMAT,
        **{name: getattr(model, name) for name in ("name", "version", "description", "licence", "source")},
        "sha256": model.file.sha256,
        "inputs": [],
        "outputs": [],
        "image": None,
        "labels": [],
        "families": [],
        "upstream": asdict(upstream) | address(upstream.url),
        "fingerprint": hashlib.sha256(f"{FORMAT} {model.file.sha256}".encode()).hexdigest(),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def is_prepared(model: Manifest) -> bool:
    """Whether prepared/model.json is what `prepare` writes."""
    path = model.prepared / "model.json"
    return path.is_file() and path.read_text(encoding="utf-8") == _record(model)


def prepare(model: Manifest) -> list[str]:
    """Writes prepared/model.json, which is all that is deployed; a line that says so."""
    upstream = model.upstream
    assert upstream is not None  # noqa: S101
    if is_prepared(model):
        return [f"{model.name}: {model.prepared} is up to date"]
    path = model.prepared / "model.json"
    model.prepared.mkdir(exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(_record(model), encoding="utf-8")
    beside.replace(path)
    return [f"{model.name}: asks {upstream.model} at {upstream.url}"]
