"""The gateway as its callers meet it: in the server, and as the function answers on Lambda."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from function.app import App
from function.exchange import Exchange
from function.messages import Request
from function.settings import Settings
from models import manifest, prepare
from tests.answer import Answer
from tests.e2e.http_client import ask
from tests.e2e.raw_server import RawServer, running
from tests.upstream import write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CHAT = "/v1/chat/completions"
KEY = "sk-the-key-of-these-tests"
VARIABLES = {"GATEWAY_TEST_KEY": KEY, "MODEL_NAME": "chat"}
QUICK: dict[str, Any] = {"first_token_s": 0.4, "between_tokens_s": 0.4, "retries": 0}
# Model -> its rules beside the address.
MODELS: dict[str, dict[str, Any]] = {
    "chat": {},
    "keyed": {"key": "env:GATEWAY_TEST_KEY"},
    "keyless": {"key": "env:GATEWAY_TEST_NOTHING"},
    "quick": QUICK,
    "careful": QUICK | {"fallbacks": ["down", "chat"]},
    "short": {"whole_s": 0.5, "retries": 0},
    "one": {"concurrency": 1},
    "one_or": {"concurrency": 1, "fallbacks": ["chat"]},
    "capped": {"max_tokens": 5},
    "lost": {"retries": 0, "fallbacks": ["nowhere"]},
}


def write_models(repository: Path, port: int, closed_port: int) -> Path:
    for name, rules in MODELS.items():
        _prepare(write_folder(repository / name, port, **rules))
    _prepare(write_folder(repository / "down", closed_port, retries=1))
    return repository


def _prepare(folder: Path) -> None:
    prepare.prepare(manifest.read(folder))


class Lambda:
    """The function's core with the transport that it has on Lambda; one request at a time."""

    def __init__(self, repository: Path, **settings: str) -> None:
        self.app = App(Settings({"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "chat", **settings}))

    def exchange(self, document: object, path: str = CHAT) -> Exchange:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        exchange = Exchange(Request("POST", path, {}, {}, body))
        self.app.respond(exchange)
        return exchange

    def post(self, document: object, path: str = CHAT) -> Answer:
        response = self.exchange(document, path).response
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = response.body if response.chunks is None else b"".join(response.chunks)  # type: ignore[arg-type]
        return Answer(response.status, headers, body)


class Server:
    """The server in a process of its own."""

    def __init__(self, raw: RawServer) -> None:
        self.raw = raw

    def post(self, document: object, path: str = CHAT) -> Answer:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return ask(self.raw.url, "POST", path, body, {"Content-Type": "application/json"})


@contextmanager
def serving(repository: Path, shortened: str = "", settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    with running(repository, shortened, {**VARIABLES, **(settings or {})}) as raw:
        yield Server(raw)


@contextmanager
def environment() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(VARIABLES)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def together(count: int, call: Any) -> list[Any]:
    """`call(index)` on so many threads at once, and what each has returned or raised."""
    found: list[Any] = [None] * count

    def run(index: int) -> None:
        try:
            found[index] = call(index)
        except Exception as error:  # noqa: BLE001  (told in the test's own thread)
            found[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found
