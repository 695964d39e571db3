"""A direct invoke: the JSON of an HTTP body as the event itself, the JSON of the answer as the result."""

from __future__ import annotations

import json

from function.errors import PredictError, invalid
from function.events.unwrapped import FORMS, route_for_payload
from function.messages import Request, Response, error_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.app import App


def answer_direct(api: App, event: Any, limit: int) -> tuple[Request, Response]:
    """The answer for {"image"}, {"tensors"} or {"inputs"}, by the default model, always in JSON; errors are {"error"}.

    More than `limit` bytes, and binary data, are errors too: Lambda would cut off the one and break on the other.
    """
    path = route_for_payload(event, api.settings.model_name)
    if path is None:
        kinds = "an HTTP event of a function URL, API Gateway or ALB, records of S3 or SQS"
        return Request("", "", {}, {}, b""), error_response(invalid(f"expected {kinds}, or {FORMS}"))
    request = Request("POST", path, {}, {}, json.dumps(event).encode())
    response = api.respond(request)
    if response.headers["Content-Type"] != "application/json":
        response = error_response(invalid("a direct invoke answers in JSON only; leave binary_data_output out"))
    elif len(response.body) > limit:
        message = f"the answer has {len(response.body)} bytes, Lambda lets {limit} out; send a smaller batch"
        response = error_response(PredictError("PAYLOAD_TOO_LARGE", message))
    return request, response
