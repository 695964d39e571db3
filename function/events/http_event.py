"""Lambda's HTTP events <-> Request and Response: function URL, HTTP API, REST API and ALB.

Formats: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html (2.0, as HTTP APIs),
docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html (2.0 and 1.0),
docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html (ALB).
How each one percent-encodes: captures of 2026-07-10 at github.com/hotsock/voker, vokerhttp/testdata.
"""

from __future__ import annotations

from function.errors import PredictError, invalid
from function.messages import Request, Response, error_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Event = dict[str, Any]
    ToRequest = Callable[[Event], Request]
    FromResponse = Callable[[Event, Response], Event]
    Adapter = tuple[ToRequest, FromResponse]

# The whole answer as JSON, in bytes. ALB takes less than Lambda itself.
LAMBDA_LIMIT = 6 * 1024 * 1024
ALB_LIMIT = 1024 * 1024

# JSON writes these bytes as they are, the next as \n, and the others that ASCII has as \u001f. Of UTF-8's other
# bytes each takes at most three, as \u00e9 in the Python runtimes before 3.12.
_SHORT_ESCAPES = b'"\\\b\f\n\r\t'
_PLAIN = bytes(set(range(32, 127)) - set(_SHORT_ESCAPES))
_NOT_ASCII = bytes(range(128, 256))


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


def _from_payload_2(event: Event) -> Request:
    context = event["requestContext"]
    headers = _lower(event.get("headers"))
    if event.get("cookies"):  # HTTP APIs give them here only, function URLs in the header too
        headers.setdefault("cookie", "; ".join(event["cookies"]))
    path = _without_stage(event.get("rawPath"), context)
    # Despite its name, an HTTP API's rawPath is decoded: a '%' that is left there belongs to the name.
    if ".execute-api." not in (context.get("domainName") or ""):
        path = _unquoted(path)
    query = {}
    for pair in (event.get("rawQueryString") or "").split("&"):
        if pair:
            name, _, value = pair.partition("=")
            query[_form_decoded(name)] = _form_decoded(value)
    return Request(_method((context.get("http") or {}).get("method")), path, query, headers, _body(event))


def _from_payload_1(event: Event) -> Request:
    path = event.get("path") or "/"
    if event.get("version") == "1.0":  # an HTTP API that was told to use the older format
        path = _without_stage(path, event["requestContext"])
    else:
        # A custom domain's base path stands in `path`, but not in what the catch-all resource matched.
        proxy = (event.get("pathParameters") or {}).get("proxy")
        if event.get("resource") == "/{proxy+}" and proxy:
            path = "/" + proxy.lstrip("/")
        path = _unquoted(path)
    method = _method(event.get("httpMethod"))
    return Request(method, path, _last_values(event), _header_values(event), _body(event))


def _from_alb(event: Event) -> Request:
    # ALB alone leaves the names and values of the query as they were sent.
    query = {_form_decoded(name): _form_decoded(value) for name, value in _last_values(event).items()}
    path = _unquoted(event.get("path") or "/")
    return Request(_method(event.get("httpMethod")), path, query, _header_values(event), _body(event))


def _to_payload(_: Event, response: Response) -> Event:
    response, body, is_base64 = _carried(response, LAMBDA_LIMIT)
    return {
        "statusCode": response.status,
        "headers": response.headers,
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _to_alb(event: Event, response: Response) -> Event:
    from http import HTTPStatus  # 4 ms alone, nothing after awslambdaric

    response, body, is_base64 = _carried(response, ALB_LIMIT)
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
        raise invalid(f"the event's HTTP method must be a string, such as POST; {value!r} came")
    return value


def _without_stage(path: str | None, context: Event) -> str:
    """HTTP APIs leave the stage's name in the path, unless it is $default."""
    prefix = "/" + (context.get("stage") or "$default")
    if path and (path + "/").startswith(prefix + "/"):
        path = path[len(prefix) :]
    return path or "/"


def _unquoted(path: str) -> str:
    if "%" not in path:
        return path
    from urllib.parse import unquote  # 8 ms alone, 2 after awslambdaric

    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError as error:
        raise invalid(f"the path {path!r} is not percent-encoded UTF-8") from error


def _form_decoded(text: str) -> str:
    """A name or value of a query string: '+' is a space there."""
    return _unquoted(text.replace("+", " "))


def _lower(headers: dict[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def _header_values(event: Event) -> dict[str, str]:
    many = event.get("multiValueHeaders") or {}
    return _lower({name: ", ".join(values) for name, values in many.items()} or event.get("headers"))


def _last_values(event: Event) -> dict[str, str]:
    many = event.get("multiValueQueryStringParameters")
    if many:
        return {name: values[-1] for name, values in many.items() if values}
    return dict(event.get("queryStringParameters") or {})


def _body(event: Event) -> bytes:
    body = event.get("body")
    if body is None or body == "":
        return b""
    if not isinstance(body, str):
        raise invalid(f"the event's body must be a string, not {type(body).__name__}; put JSON in it as text")
    if not event.get("isBase64Encoded"):
        try:
            return body.encode()
        except UnicodeEncodeError as error:
            raise invalid("the event's body holds half of a surrogate pair, which is no character") from error
    from pybase64 import b64decode  # 1 ms; 9 times as fast as the standard library's

    try:
        return b64decode(body, validate=True)
    except ValueError as error:
        raise invalid("the event says isBase64Encoded, but its body is not base64 with padding") from error


def _carried(response: Response, limit: int) -> tuple[Response, str, bool]:
    """The response, or a 413 in place of one too large to leave; its body; whether that body is base64."""
    text = _text(response)
    size = _escaped_size(response.body, limit) if text is not None else (len(response.body) + 2) // 3 * 4
    size += 256 + 2 * sum(len(name) + len(value) for name, value in response.headers.items())
    if size > limit:
        timing = {name: value for name, value in response.headers.items() if name == "Server-Timing"}
        response = error_response(
            PredictError(
                "PAYLOAD_TOO_LARGE",
                f"the answer is {size / 2**20:.1f} MiB as JSON or base64, over the {limit >> 20} MiB limit; "
                "send a smaller batch, name fewer outputs, or ask for gzip with Accept-Encoding",
            )
        )
        response.headers.update(timing)
        text = response.body.decode()
    if text is not None:
        return response, text, False
    from pybase64 import b64encode_as_string  # 1 ms

    return response, b64encode_as_string(response.body), True


def _text(response: Response) -> str | None:
    """The body as text, where its Content-Type says so and it is not compressed; else None."""
    headers = _lower(response.headers)
    kind = headers.get("content-type", "")
    if "content-encoding" not in headers and kind.startswith(("application/json", "text/")):
        try:
            return response.body.decode()
        except UnicodeDecodeError:
            pass
    return None


def _escaped_size(body: bytes, limit: int) -> int:
    """At least the bytes of `body` as a JSON string; counted (1 ms a MB) only where the worst case is too large."""
    if len(body) > limit or 6 * len(body) < limit // 2:
        return len(body)
    escaped = body.translate(None, _PLAIN)
    rare = escaped.translate(None, _SHORT_ESCAPES)
    controls = len(rare.translate(None, _NOT_ASCII))
    return len(body) + len(escaped) - len(rare) + 5 * controls + 2 * (len(rare) - controls)
