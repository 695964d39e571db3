"""HTTP to a server on this machine."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping


def ask(url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own; any status is an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lower, response.read())
    finally:
        connection.close()


def post_json(url: str, path: str, body: object) -> Answer:
    return ask(url, "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})


def connect(url: str) -> socket.socket:
    """A connection, for what is sent by hand."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def refuses_connections(url: str) -> bool:
    """Whether nobody listens there any more."""
    try:
        connect(url).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was in the queue of a socket that closes
        return True
    return False
