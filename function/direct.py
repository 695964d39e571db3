"""A direct invoke: the JSON of an HTTP body as the event itself, the JSON of the answer as the result."""

from __future__ import annotations

import json

from function.errors import invalid
from function.message import Request, error_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.api import Api


def answer_direct(api: Api, event: Any) -> bytes:
    """The answer's JSON for {"image"}, {"tensors"} or {"inputs"}, by the default model; errors are {"error"}."""
    path = _path(event, api.settings.model_name)
    if path is None:
        kinds = "an HTTP event of a function URL, API Gateway or ALB"
        error = invalid(f'expected {kinds}, or {{"image"}}, {{"tensors"}} or {{"inputs"}} as in an HTTP body')
        return error_response(error).body
    return api.respond(Request("POST", path, {}, {}, json.dumps(event).encode())).body


def _path(event: Any, model: str) -> str | None:
    if not isinstance(event, dict):
        return None
    if "image" in event:
        return "/classify"
    if "tensors" in event:
        return f"/v1/models/{model}/infer"
    if isinstance(event.get("inputs"), list) and event["inputs"]:
        protocol = isinstance(event["inputs"][0], dict)
        return f"/v2/models/{model}/infer" if protocol else f"/v1/models/{model}/infer"
    return None
