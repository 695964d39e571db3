"""HTTP as it is on the wire, one connection for each entry, and the bodies of the Open Inference Protocol."""

from __future__ import annotations

import http.client
import json
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.contract.entries.servers import ENTRIES, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LENGTH = "Inference-Header-Content-Length"

IDLE_S = 2.0  # after which a connection is opened anew: the server closes it after 5 s, and a busy machine takes long


@dataclass(frozen=True)
class Answer:
    """What came back: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error in its one form."""
        assert self.headers["content-type"] == "application/json"
        assert list(self.json) == ["error"], self.body
        message: str = self.json["error"]
        return message

    @property
    def parts(self) -> tuple[Any, bytes]:
        """The JSON and the binary data after it."""
        length = int(self.headers[LENGTH.lower()])
        return json.loads(self.body[:length]), self.body[length:]


class Wire:
    """A kept connection to one entry."""

    def __init__(self, entry: str, address: str) -> None:
        self.entry, self.address = entry, address
        self._connection = http.client.HTTPConnection(address, timeout=60)
        self._answered = time.monotonic()

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        if time.monotonic() - self._answered > IDLE_S:
            self._connection.close()  # the next request opens it again
        self._connection.request(method, path, body, dict(headers or {}))
        response = self._connection.getresponse()
        content = response.read()
        self._answered = time.monotonic()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """`body` as it is when it is bytes, else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content, headers)

    def infer(self, model: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        return self.post(f"/v2/models/{model}/infer", body, headers)


@contextmanager
def connected(repository: Path) -> Iterator[dict[str, Wire]]:
    """A connection to each entry over `repository`."""
    with ExitStack() as stack:
        found = {}
        for entry in ENTRIES:
            found[entry] = Wire(entry, stack.enter_context(serve(entry, repository, sys.executable)))
            stack.callback(found[entry].close)
        yield found


def with_binary(document: Any, *data: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of JSON and binary data, and its headers."""
    text = json.dumps(document).encode()
    return b"".join((text, *data)), {LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}
