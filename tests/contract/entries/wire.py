"""HTTP as it is on the wire, one connection for each entry, and the bodies of the Open Inference Protocol."""

from __future__ import annotations

import http.client
import json
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tests.answer import Answer
from tests.contract.entries.servers import ENTRIES, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

IDLE_SECONDS = 1.0  # for which a connection is surely kept; the server closes it after 5
LENGTH = "Inference-Header-Content-Length"


class Wire:
    """A connection to one entry, kept from request to request while tests ask without a pause."""

    def __init__(self, entry: str, address: str) -> None:
        self.entry, self.address = entry, address
        self._connection = http.client.HTTPConnection(address, timeout=60)
        self._used = 0.0

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.close()  # the next request connects again
        try:
            self._connection.request(method, path, body, dict(headers or {}))
            response = self._connection.getresponse()
            lower = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, lower, response.read())
        except BaseException:
            self.close()  # or every request after it would fail as well
            raise
        self._used = time.monotonic()
        return answer

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
