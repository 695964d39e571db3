"""HTTP to the function URL on this machine."""

from __future__ import annotations

import http.client
import json
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
