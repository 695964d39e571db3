"""A direct invoke: the JSON of an HTTP body as the event itself, the JSON of the answer as the result."""

from __future__ import annotations

import json

from function.errors import PredictError, invalid
from function.message import Request, error_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.api import Api


def answer_direct(api: Api, event: Any, limit: int) -> bytes:
    """The answer's JSON for {"image"}, {"tensors"} or {"inputs"}, by the default model; errors are {"error"}.

    More than `limit` bytes, and binary data, are errors too: Lambda would cut off the one and break on the other.
    """
    path = _path(event, api.settings.model_name)
    if path is None:
        kinds = "an HTTP event of a function URL, API Gateway or ALB"
        error = invalid(f'expected {kinds}, or {{"image"}}, {{"tensors"}} or {{"inputs"}} as in an HTTP body')
        return error_response(error).body
    response = api.respond(Request("POST", path, {}, {}, json.dumps(event).encode()))
    if response.headers["Content-Type"] != "application/json":
        response = error_response(invalid("a direct invoke answers in JSON only; leave binary_data_output out"))
    elif len(response.body) > limit:
        message = f"the answer has {len(response.body)} bytes, Lambda lets {limit} out; send a smaller batch"
        response = error_response(PredictError("PAYLOAD_TOO_LARGE", message))
    return response.body


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
