"""The OpenAPI 3.1 document of all routes (spec.openapis.org/oas/v3.1.1): openapi.json beside this file."""

from __future__ import annotations

import json
import os
from functools import cache

from function.messages import Response
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.exchange import Exchange
    from function.inference import Inference


def openapi(_inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    return Response(200, {"Content-Type": "application/json"}, document(VERSION))


@cache
def document(version: str) -> bytes:
    """The document as JSON in one line; `version` is that of the API."""
    with open(os.path.join(os.path.dirname(__file__), "openapi.json"), "rb") as file:
        found = json.load(file)
    info = {"title": found["info"]["title"], "version": version, **found["info"]}
    return json.dumps(found | {"info": info}, separators=(",", ":")).encode()
