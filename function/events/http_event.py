"""Lambda's HTTP events <-> Request and Response: function URL, HTTP API, REST API and ALB.

Formats: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html (2.0, as HTTP APIs),
docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html (2.0 and 1.0),
docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html (ALB).
How each one percent-encodes: captures of 2026-07-10 at github.com/hotsock/voker, vokerhttp/testdata.
"""

from __future__ import annotations

from function.errors import invalid
from function.events.http_response import carried
from function.messages import Request, Response, form_decoded, parsed_query, unquoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from function.settings import Settings

    Event = dict[str, Any]
    ToRequest = Callable[[Event], Request]
    FromResponse = Callable[[Event, Response], Event]
    Adapter = tuple[ToRequest, FromResponse]

# The whole answer as JSON, in bytes. ALB takes less than Lambda itself.
LAMBDA_LIMIT = 6 * 1024 * 1024
ALB_LIMIT = 1024 * 1024


def classify(event: object) -> Adapter | None:
    """How to unwrap and answer an HTTP event; None for all others: S3 and SQS records, a direct invoke.

    `to_request(event)` raises PredictError for a path or body that cannot be decoded.
    `from_response(event, response)` is what the handler returns.
    """
    if isinstance(event, dict) and isinstance(event.get("requestContext"), dict):
        for accepts, to_request, from_response in KINDS:
            if accepts(event):
                return to_request, from_response
    return None


def streams(event: Event, context: Any, settings: Settings) -> bool:
    """Whether the answer to an HTTP event streams: all those of a function URL whose InvokeMode is RESPONSE_STREAM.

    The event does not tell that mode, so INVOKE_MODE does; AWS's own runtime client cannot stream.
    """
    if settings.invoke_mode != "RESPONSE_STREAM" or not getattr(context, "streams", False):
        return False
    return ".lambda-url." in str(event["requestContext"].get("domainName"))


def _from_payload_2(event: Event) -> Request:
    context = event["requestContext"]
    headers = _headers(event, "headers")
    if event.get("cookies"):  # HTTP APIs give them here only, function URLs in the header too
        headers.setdefault("cookie", "; ".join(_texts(event["cookies"], "cookies")))
    path = _without_stage(_text(event, "rawPath"), context)
    # Despite its name, an HTTP API's rawPath is decoded: a '%' that is left there belongs to the name.
    if ".execute-api." not in _text(context, "domainName"):
        path = unquoted(path, "the path")
    query = parsed_query(_text(event, "rawQueryString"))
    return Request(_method(_object(context, "http").get("method")), path, query, headers, _body(event))


def _from_payload_1(event: Event) -> Request:
    path = _text(event, "path") or "/"
    if event.get("version") == "1.0":  # an HTTP API that was told to use the older format
        path = _without_stage(path, event["requestContext"])
    else:
        # A custom domain's base path stands in `path`, but not in what the catch-all resource matched.
        proxy = _text(_object(event, "pathParameters"), "proxy")
        if event.get("resource") == "/{proxy+}" and proxy:
            path = "/" + proxy.lstrip("/")
        path = unquoted(path, "the path")
    return Request(_method(event.get("httpMethod")), path, _query(event), _all_headers(event), _body(event))


def _from_alb(event: Event) -> Request:
    # ALB alone leaves the names and values of the query as they were sent.
    query = {form_decoded(name): form_decoded(value) for name, value in _query(event).items()}
    path = unquoted(_text(event, "path") or "/", "the path")
    return Request(_method(event.get("httpMethod")), path, query, _all_headers(event), _body(event))


def _to_payload(_: Event, response: Response) -> Event:
    response, body, is_base64 = carried(response, LAMBDA_LIMIT)
    return {
        "statusCode": response.status,
        "headers": response.headers,
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _to_alb(event: Event, response: Response) -> Event:
    from http import HTTPStatus  # 4 ms alone, nothing after awslambdaric

    response, body, is_base64 = carried(response, ALB_LIMIT)
    answer = {
        "statusCode": response.status,
        "statusDescription": f"{response.status} {HTTPStatus(response.status).phrase}",
        "body": body,
        "isBase64Encoded": is_base64,
    }
    # A target group with multi-value headers reads only these, one without only the others.
    if event.get("multiValueHeaders") is not None:
        return answer | {"multiValueHeaders": {name: [value] for name, value in response.headers.items()}}
    return answer | {"headers": response.headers}


# (test, to_request, from_response): the first kind that accepts an event has it.
KINDS: tuple[tuple[Callable[[Event], bool], ToRequest, FromResponse], ...] = (
    (lambda event: "rawPath" in event, _from_payload_2, _to_payload),  # function URL, HTTP API
    (lambda event: "elb" in event["requestContext"], _from_alb, _to_alb),
    (lambda event: "httpMethod" in event, _from_payload_1, _to_payload),  # REST API
)


def _method(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise invalid(f"the event's HTTP method must be a string, such as POST; {shown(value)} came")
    return value


def shown(value: object) -> str:
    """A value of an event as a message shows it: what holds others by its kind alone, as it may be nested deep."""
    if value is None or isinstance(value, (str, int, float)):
        return f"{value!r:.60}"
    return f"an array of {len(value)}" if isinstance(value, list) else "an object"


def _without_stage(path: str, context: Event) -> str:
    """HTTP APIs leave the stage's name in the path, unless it is $default."""
    prefix = "/" + (_text(context, "stage") or "$default")
    if (path + "/").startswith(prefix + "/"):
        path = path[len(prefix) :]
    return path or "/"


def _text(holder: Event, field: str) -> str:
    """The string under `field`, empty without one."""
    value = holder.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(f"the event's {field!r} must be a string; {shown(value)} came")
    return value


def _texts(value: object, field: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"the event's {field!r} must have arrays of strings; {shown(value)} came")
    return value


def _object(holder: Event, field: str) -> dict[str, Any]:
    """The object under `field`, empty without one."""
    value = holder.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"the event's {field!r} must be an object; {shown(value)} came")
    return value


def _headers(event: Event, field: str) -> dict[str, str]:
    """An object of strings, its names in lower case."""
    values = _object(event, field)
    return {name.lower(): _text(values, name) for name in values}


def _all_headers(event: Event) -> dict[str, str]:
    many = _object(event, "multiValueHeaders")
    if many:
        return {name.lower(): ", ".join(_texts(values, "multiValueHeaders")) for name, values in many.items()}
    return _headers(event, "headers")


def _query(event: Event) -> dict[str, str]:
    many = _object(event, "multiValueQueryStringParameters")
    if many:
        lists = {name: _texts(values, "multiValueQueryStringParameters") for name, values in many.items() if values}
        return {name: values[-1] for name, values in lists.items()}
    single = _object(event, "queryStringParameters")
    return {name: _text(single, name) for name in single}


def _body(event: Event) -> bytes:
    body = event.get("body")
    if body is None or body == "":
        return b""
    if not isinstance(body, (str, bytes)):  # bytes: of our own runtime client, event_text.py
        raise invalid(f"the event's body must be a string, not {type(body).__name__}; put JSON in it as text")
    if not event.get("isBase64Encoded"):
        try:
            return body if isinstance(body, bytes) else body.encode()
        except UnicodeEncodeError as error:
            raise invalid("the event's body holds half of a surrogate pair, which is no character") from error
    from pybase64 import b64decode  # 1 ms; 9 times as fast as the standard library's

    try:
        return b64decode(body, validate=True)
    except ValueError as error:
        raise invalid("the event says isBase64Encoded, but its body is not base64 with padding") from error
