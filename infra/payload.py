"""Payload format 2.0: an HTTP request as a function-URL event, and a function's answer as an HTTP response.

The format: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

# Lambda's Invoke takes requests below this and names it in its error.
REQUEST_LIMIT = 6 * 1024 * 1024

# The types whose bodies arrive as text. AWS says only that "binary" ones are base64-encoded; these were
# measured on payload 2.0 (https://github.com/ministackorg/ministack/pull/766) and are what ALB documents.
# All else is base64-encoded: form posts, multipart, tensors, images, and bodies without a Content-Type.
_TEXT_TYPE = re.compile(r"text/.+|application/(json|javascript|xml)", re.IGNORECASE)

# Meant for the next hop only, or computed anew (RFC 9110, 7.6.1).
_HOP_HEADERS = {"connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
_FRAMING_HEADERS = _HOP_HEADERS | {"content-length", "date"}

# RFC 9110, 5.1 and 5.5.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class AnswerError(ValueError):
    """The function failed, or answered with something that is no HTTP response; a function URL says 502."""


@dataclass(frozen=True)
class HttpRequest:
    """A request as it came: target still percent-encoded, one pair for each header line, body unchunked."""

    method: str
    target: str
    protocol: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str


@dataclass(frozen=True)
class HttpResponse:
    """A response without the headers that frame its body."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def encode_event(request: HttpRequest) -> bytes:
    """Return the JSON event of a request."""
    url = urlsplit(request.target)
    headers, cookies = _join_headers(request)
    now = time.time()
    request_id = str(uuid.uuid4())
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        # Still percent-encoded in a function URL, unlike in an HTTP API
        # (captures: https://github.com/middleapi/standard-server/pull/93).
        "rawPath": url.path,
        "rawQueryString": url.query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "authentication": None,
            "domainName": headers.get("host", ""),
            "domainPrefix": "local",
            "http": {
                "method": request.method,
                "path": url.path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    # AWS leaves out what a request does not have.
    if cookies:
        event["cookies"] = cookies
    if url.query:
        pairs = parse_qsl(url.query, keep_blank_values=True)
        event["queryStringParameters"] = _joined(pairs)
    if request.body:
        event["body"], event["isBase64Encoded"] = _encode_body(request.body, headers)
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def decode_answer(answer: bytes) -> HttpResponse:
    """Return the HTTP response that a function's answer (JSON bytes) stands for.

    An object with `statusCode` is a response; any other JSON is the body of a 200.
    Raises AnswerError: the function failed, or its answer is neither.
    """
    try:
        value = json.loads(answer)
    except ValueError as error:
        raise AnswerError(f"the function's answer is not JSON: {answer[:200]!r}") from error
    if not isinstance(value, dict) or "statusCode" not in value:
        if isinstance(value, dict) and "errorMessage" in value and "errorType" in value:
            raise AnswerError(f"the function failed: {value['errorType']}: {value['errorMessage']}")
        return HttpResponse(200, [("content-type", "application/json")], answer)
    status = value["statusCode"]
    if type(status) is not int or not 200 <= status <= 599:
        raise AnswerError(f"statusCode must be an integer from 200 to 599, not {status!r}")
    headers = _response_headers(value.get("headers") or {}, value.get("cookies") or [])
    return HttpResponse(status, headers, _decode_body(value.get("body"), value.get("isBase64Encoded")))


def _join_headers(request: HttpRequest) -> tuple[dict[str, str], list[str]]:
    pairs = [(name.lower(), value.strip(" \t")) for name, value in request.headers]
    headers = _joined([pair for pair in pairs if pair[0] not in _HOP_HEADERS])
    # Function URLs give cookies twice, in the list and in the header
    # (https://github.com/aws/aws-lambda-go/issues/597).
    cookies = [cookie.strip() for name, value in pairs if name == "cookie" for cookie in value.split(";")]
    if "cookie" in headers:
        headers["cookie"] = "; ".join(cookies)
    if request.body:
        headers["content-length"] = str(len(request.body))
    headers["x-forwarded-for"] = request.source_ip
    headers["x-forwarded-proto"] = "http"
    return headers, cookies


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """One value for each name; the values of a repeated name are joined by commas."""
    values: dict[str, str] = {}
    for name, value in pairs:
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def _encode_body(body: bytes, headers: dict[str, str]) -> tuple[str, bool]:
    media_type = headers.get("content-type", "").partition(";")[0].strip()
    if _TEXT_TYPE.fullmatch(media_type) and "content-encoding" not in headers:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _decode_body(body: object, is_base64: object) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        raise AnswerError(f"body must be a string, not {type(body).__name__}: encode it with json.dumps")
    try:
        return base64.b64decode(body, validate=True) if is_base64 else body.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise AnswerError(f"body is not {'base64' if is_base64 else 'Unicode text'}: {error}") from error


def _response_headers(headers: object, cookies: object) -> list[tuple[str, str]]:
    if not isinstance(headers, dict):
        raise AnswerError(f"headers must be an object, not {type(headers).__name__}")
    if not isinstance(cookies, list):
        raise AnswerError(f"cookies must be a list, not {type(cookies).__name__}")
    lines = [(name.lower(), value) for name, value in headers.items()]
    lines = [(name, value) for name, value in lines if name not in _FRAMING_HEADERS]
    if "content-type" not in dict(lines):
        lines.append(("content-type", "application/json"))
    lines += [("set-cookie", cookie) for cookie in cookies]
    for name, value in lines:
        if not isinstance(value, (str, int, float)):
            raise AnswerError(f"header {name} must be a string, not {type(value).__name__}")
        # A line end would let a value forge further headers.
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(str(value)):
            raise AnswerError(f"header {name!r} cannot be sent with the value {value!r}")
    return [(name, str(value)) for name, value in lines]
