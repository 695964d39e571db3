"""A direct invoke: the JSON of an HTTP body as the event itself, the JSON of the answer as the result."""

from __future__ import annotations

from function.errors import PredictError, invalid
from function.messages import Request, Response, error_response
from function.native import cjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

FORMS = '{"instances"}, {"image"}, {"tensors"} or {"inputs"} as in an HTTP body'


def route_for_payload(fields: Container[str], model: str, *, inputs_of_objects: bool | None) -> str | None:
    """The path that takes a JSON object with `fields`, by the default model `model`; None when it is none of FORMS.

    `inputs_of_objects`: whether the array under "inputs" begins with an object, as in the Open Inference Protocol;
    None without such an array.
    """
    if "image" in fields:
        return "/classify"
    if "instances" in fields:
        return f"/v1/models/{model}:predict"
    if "tensors" in fields:
        return f"/v1/models/{model}/infer"
    if inputs_of_objects is None:
        return None
    return f"/v2/models/{model}/infer" if inputs_of_objects else f"/v1/models/{model}/infer"


def to_request(event: Any, model: str) -> Request:
    """The request for one of FORMS, by the default model; PredictError for other events."""
    fields = event if isinstance(event, dict) else {}
    inputs = fields.get("inputs")
    of_objects = isinstance(inputs[0], dict) if isinstance(inputs, list) and inputs else None
    path = route_for_payload(fields, model, inputs_of_objects=of_objects)
    if path is None:
        kinds = "an HTTP event of a function URL, API Gateway or ALB, records of S3 or SQS"
        raise invalid(f"expected {kinds}, or {FORMS}")
    try:
        body = cjson.dumps(event).encode()  # Lambda's runtime client has parsed it before anyone could ask it not to
    except RecursionError:
        raise invalid("the event is nested too deep; send arrays that have the input's shape") from None
    return Request("POST", path, {}, {}, body)


def limited(response: Response, limit: int) -> Response:
    """The response, or an error in place of one that Lambda would break: binary data, or more than `limit` bytes."""
    if response.headers["Content-Type"] != "application/json":
        return error_response(invalid("a direct invoke answers in JSON only; leave binary_data_output out"))
    if len(response.body) > limit:
        message = f"the answer has {len(response.body)} bytes, Lambda lets {limit} out; send a smaller batch"
        return error_response(PredictError("PAYLOAD_TOO_LARGE", message))
    return response
