"""Each kind of Lambda event to a Request and back, over the events in tests/events."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.errors import PredictError
from function.events import http_event
from function.events.http_event import ALB_LIMIT, LAMBDA_LIMIT, classify
from function.messages import Request, Response, error_response, json_response

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "tests" / "events"
BODY = b'{"inputs":[{"name":"input","datatype":"FP32","shape":[1,3],"data":[0.5,-1,2]}]}'
HTTP = [
    "alb",
    "alb_multi_value",
    "api_gateway_rest",
    "function_url_base64",
    "function_url_text",
    "http_api",
]


def event_of(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def request_of(event: dict[str, Any]) -> Request:
    adapter = classify(event)
    assert adapter is not None
    return adapter[0](event)


def answer_of(event: dict[str, Any], response: Response) -> dict[str, Any]:
    adapter = classify(event)
    assert adapter is not None
    return adapter[1](event, response)


def body_of(answer: dict[str, Any]) -> bytes:
    """What the client gets, by AWS's rules."""
    assert isinstance(answer["body"], str)
    assert isinstance(answer["isBase64Encoded"], bool)
    text: str = answer["body"]
    return base64.b64decode(text, validate=True) if answer["isBase64Encoded"] else text.encode()


def test_every_event_here_is_tested() -> None:
    assert sorted(path.stem for path in EVENTS.glob("*.json")) == sorted([*HTTP, "kinesis", "s3_put", "sqs"])


@pytest.mark.parametrize(
    ("name", "path", "query", "content_type", "body"),
    [
        ("alb", "/v2/models/digits/infer", {"query": "1234ABCD"}, None, BODY),
        ("api_gateway_rest", "/v2/models/digits/infer", {"foo": "bar"}, None, BODY),
        ("http_api", "/v2/models/digits/infer", {"parameter1": "value2", "parameter2": "value"}, None, BODY),
        (
            "function_url_text",
            "/v2/models/digits/infer",
            {"trace": "c+d", "empty": ""},
            "application/json",
            BODY,
        ),
    ],
)
def test_post_events(name: str, path: str, query: dict[str, str], content_type: str | None, body: bytes) -> None:
    request = request_of(event_of(name))
    assert (request.method, request.path, request.query) == ("POST", path, query)
    assert request.headers.get("content-type") == content_type
    assert request.body == body
    assert all(header == header.lower() for header in request.headers)


def test_a_binary_body_and_an_encoded_path() -> None:
    request = request_of(event_of("function_url_base64"))
    assert request.path == "/v1/models/my model/classify"
    assert request.query == {"top_k": "3"}
    assert request.body.startswith(b"\x89PNG\r\n\x1a\n")
    assert str(len(request.body)) == request.headers["content-length"]


def test_multi_value_alb() -> None:
    request = request_of(event_of("alb_multi_value"))
    assert (request.method, request.path, request.body) == ("GET", "/v2/models/my model", b"")
    assert request.query == {"myKey": "val2", "redirect": "https://example.com/a b"}
    assert request.headers["accept"] == "application/json, text/plain"


def test_cookies() -> None:
    assert request_of(event_of("http_api")).headers["cookie"] == "cookie1; cookie2"
    assert request_of(event_of("function_url_text")).headers["cookie"] == "session=abc123; theme=dark"


@pytest.mark.parametrize(
    "event",
    [
        event_of("s3_put"),
        event_of("sqs"),
        {"inputs": []},
        {"tensors": {}},
        {"requestContext": None, "rawPath": "/"},
        {"requestContext": {"connectionId": "a WebSocket has no method"}},
        {},
        [],
        None,
        "text",
    ],
)
def test_other_events_are_nobodys(event: object) -> None:
    assert classify(event) is None


@pytest.mark.parametrize("name", HTTP)
def test_missing_and_null_fields(name: str) -> None:
    event = event_of(name)
    optional = set(event) - {"requestContext", "httpMethod", "path", "rawPath", "version"}
    assert len(optional) >= 4
    for absent in (event | dict.fromkeys(optional), {k: v for k, v in event.items() if k not in optional}):
        request = request_of(absent)
        assert (request.query, request.headers, request.body) == ({}, {}, b"")
        assert request.path == request_of(event).path
        assert body_of(answer_of(absent, json_response(200, {}))) == b"{}"
    pathless = dict.fromkeys({"path", "rawPath", "pathParameters"} & set(event))
    assert request_of(event | pathless).path == "/"


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("method", [None, "", 3])
def test_without_a_method(name: str, method: object) -> None:
    event = event_of(name)
    if "httpMethod" in event:
        event["httpMethod"] = method
    else:
        event["requestContext"]["http"]["method"] = method
    with pytest.raises(PredictError, match="HTTP method must be a string"):
        request_of(event)


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("body", ["{", "QUJ", "QUI", "QU I=", "QUI=\n", "-_-_", "é", '{"inputs": []}', "\ud800"])
def test_a_body_that_is_not_the_base64_it_is_said_to_be(name: str, body: str) -> None:
    with pytest.raises(PredictError, match="isBase64Encoded") as caught:
        request_of(event_of(name) | {"body": body, "isBase64Encoded": True})
    assert caught.value.status == 400


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize(("body", "message"), [({"a": 1}, "string, not dict"), (3, "not int"), ("\ud800", "surrogate")])
def test_a_body_that_is_no_text(name: str, body: object, message: str) -> None:
    with pytest.raises(PredictError, match=message) as caught:
        request_of(event_of(name) | {"body": body, "isBase64Encoded": False})
    assert caught.value.status == 400


# Which sources decode the path was captured from the real services; see tests/events/README.md.
ENCODED = ["alb", "alb_multi_value", "api_gateway_rest", "function_url_base64", "function_url_text"]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1)


def with_path(event: dict[str, Any], path: str) -> dict[str, Any]:
    if "rawPath" in event:
        return event | {"rawPath": path}
    return event | {
        "path": path,
        "pathParameters": {"proxy": path[1:]} if event.get("pathParameters") else None,
    }


@pytest.mark.parametrize("name", ENCODED)
@settings(deadline=None)  # the machine may be busy
@given(model=NAMES)
def test_model_names_are_decoded_once(name: str, model: str) -> None:
    event = with_path(event_of(name), f"/v2/models/{quote(model, safe='')}/infer")
    assert request_of(event).path == f"/v2/models/{model}/infer"


@settings(deadline=None)  # the machine may be busy
@given(model=NAMES)
def test_an_http_api_has_decoded_already(model: str) -> None:
    for event in (event_of("http_api"), event_of("api_gateway_rest") | {"version": "1.0"}):
        assert request_of(with_path(event, f"/v2/models/{model}/infer")).path == f"/v2/models/{model}/infer"


@pytest.mark.parametrize("name", ENCODED)
def test_a_path_that_is_not_utf8(name: str) -> None:
    with pytest.raises(PredictError, match="percent-encoded UTF-8") as caught:
        request_of(with_path(event_of(name), "/v2/models/%FF"))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("stage", "path", "expected"),
    [
        ("$default", "/v2/models", "/v2/models"),
        ("prod", "/prod/v2/models", "/v2/models"),
        ("prod", "/prod", "/"),
        ("prod", "/production/v2", "/production/v2"),
        ("v2", "/v2/v2/models", "/v2/models"),
        ("prod", "/v2", "/v2"),
        (None, "/v2", "/v2"),
    ],
)
def test_an_http_api_leaves_the_stage_in_the_path(stage: str | None, path: str, expected: str) -> None:
    for event in (event_of("http_api"), event_of("api_gateway_rest") | {"version": "1.0"}):
        event["requestContext"]["stage"] = stage
        assert request_of(with_path(event, path)).path == expected


def test_a_rest_api_behind_a_custom_domains_base_path() -> None:
    event = event_of("api_gateway_rest")
    event |= {"path": "/vision/v2/models/a%20b", "pathParameters": {"proxy": "v2/models/a%20b"}}
    assert request_of(event).path == "/v2/models/a b"
    # The stage's name is never in `path`, so a path that begins like it is left alone.
    event |= {"path": "/prod/x", "pathParameters": {"proxy": "prod/x"}}
    assert request_of(event).path == "/prod/x"
    # Without a catch-all resource there is nothing better than `path`.
    assert request_of(event | {"resource": "/prod/x", "pathParameters": None}).path == "/prod/x"


TEXT = st.text(st.characters(codec="utf-8"))


@settings(deadline=None)  # the machine may be busy
@given(query=st.dictionaries(TEXT, TEXT, min_size=1))
def test_queries(query: dict[str, str]) -> None:
    raw = "&".join(f"{quote_plus(name)}=first&{quote_plus(name)}={quote_plus(value)}" for name, value in query.items())
    for name in ("function_url_text", "http_api"):
        assert request_of(event_of(name) | {"rawQueryString": raw}).query == query
    many = {name: ["first", value] for name, value in query.items()}
    rest = event_of("api_gateway_rest")
    assert request_of(rest | {"multiValueQueryStringParameters": many}).query == query
    rest |= {"multiValueQueryStringParameters": None, "queryStringParameters": query}
    assert request_of(rest).query == query
    sent = {quote_plus(name): quote_plus(value) for name, value in query.items()}
    assert request_of(event_of("alb") | {"queryStringParameters": sent}).query == query
    sent_many = {name: ["first", value] for name, value in sent.items()}
    assert request_of(event_of("alb_multi_value") | {"multiValueQueryStringParameters": sent_many}).query == query


HEADERS = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-0123456789").map("x-".__add__),
    st.text(st.characters(codec="ascii", min_codepoint=32)),
)


@pytest.mark.parametrize("name", HTTP)
@settings(deadline=None)  # the machine may be busy
@given(body=st.binary(), headers=HEADERS)
def test_request_bodies_and_headers_come_through(name: str, body: bytes, headers: dict[str, str]) -> None:
    event = event_of(name) | {"cookies": None}
    written = {header.title(): value for header, value in headers.items()}
    event |= {"multiValueHeaders": {header: [value] for header, value in written.items()}}
    for version in (event, event | {"multiValueHeaders": None, "headers": written}):
        if "rawPath" in version:
            version["headers"] = written
        if not headers:
            version["headers"] = None
        encoded = version | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        assert request_of(encoded).body == body
        assert request_of(encoded).headers == headers
        try:
            text = version | {"body": body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            continue
        assert request_of(text).body == body


KINDS_OF_BODY = st.sampled_from(["application/json", "text/plain; charset=utf-8", "application/octet-stream", None])


@pytest.mark.parametrize("name", HTTP)
@settings(deadline=None)  # the machine may be busy
@given(body=st.binary() | TEXT.map(str.encode), kind=KINDS_OF_BODY, zipped=st.booleans(), headers=HEADERS)
def test_responses_come_through(
    name: str, body: bytes, kind: str | None, zipped: bool, headers: dict[str, str]
) -> None:
    event = event_of(name)
    sent = headers | ({"Content-Type": kind} if kind else {}) | ({"Content-Encoding": "gzip"} if zipped else {})
    answer = json.loads(json.dumps(answer_of(event, Response(200, sent, body))))
    assert body_of(answer) == body
    assert answer["statusCode"] == 200
    if name == "alb_multi_value":
        assert answer["multiValueHeaders"] == {header: [value] for header, value in sent.items()}
        assert "headers" not in answer
    else:
        assert answer["headers"] == sent
        assert "multiValueHeaders" not in answer
    if zipped or kind in (None, "application/octet-stream"):
        assert answer["isBase64Encoded"]
    else:
        assert answer["isBase64Encoded"] == (body.decode("utf-8", "replace").encode() != body)


@pytest.mark.parametrize("name", ["alb", "alb_multi_value"])
@pytest.mark.parametrize(("status", "text"), [(200, "200 OK"), (404, "404 Not Found"), (429, "429 Too Many Requests")])
def test_alb_wants_a_status_description(name: str, status: int, text: str) -> None:
    assert answer_of(event_of(name), json_response(status, {}))["statusDescription"] == text


@pytest.mark.parametrize("name", HTTP)
def test_errors_say_json(name: str) -> None:
    error = PredictError("NOT_FOUND", "there is no model 'café \ud800'")
    answer = answer_of(event_of(name), error_response(error))
    assert answer["statusCode"] == 404
    assert json.loads(body_of(answer)) == {"error": "there is no model 'café ?'"}
    assert answer.get("headers", answer.get("multiValueHeaders")) in (
        {"Content-Type": "application/json"},
        {"Content-Type": ["application/json"]},
    )


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        json_response(200, {"x": float("nan")})


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_too_large_an_answer_says_so(name: str, kind: str) -> None:
    event = event_of(name)
    limit = ALB_LIMIT if name.startswith("alb") else LAMBDA_LIMIT
    fitting = limit - 1024 if kind == "application/json" else limit // 4 * 3 - 1024
    answer = answer_of(event, Response(200, {"Content-Type": kind}, b"1" * fitting))
    assert answer["statusCode"] == 200
    assert len(json.dumps(answer)) <= limit
    answer = answer_of(event, Response(200, {"Content-Type": kind, "X-Large": "1"}, b"1" * (fitting + 1024)))
    assert answer["statusCode"] == 413
    assert not answer["isBase64Encoded"]
    assert f"over the {limit >> 20} MiB" in json.loads(answer["body"])["error"]


@pytest.mark.parametrize("name", ["alb", "function_url_text"])
@pytest.mark.parametrize("ascii_only", [True, False])
@settings(deadline=None)  # the machine may be busy
@given(start=st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), length=st.integers(1, 4500))
def test_no_answer_that_passes_is_over_the_limit(name: str, ascii_only: bool, start: str, length: int) -> None:
    """With a limit of 4 KiB, and both ways in which Lambda's runtimes write what is not ASCII."""
    limit = 4096
    body = (start * length)[:length].encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_event, "LAMBDA_LIMIT", limit)
        patch.setattr(http_event, "ALB_LIMIT", limit)
        answer = answer_of(event_of(name), Response(200, {"Content-Type": "text/plain"}, body))
    size = len(json.dumps(answer, ensure_ascii=ascii_only).encode())
    assert size <= limit
    # Nor is one refused that would have left with room to spare.
    whole = len(json.dumps(body.decode()).encode())
    assert (answer["statusCode"] == 200) or whole * 1.5 > limit - 400


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "a path that is a number": ("function_url_text", {"rawPath": 5}),
    "a query that is a list": ("function_url_text", {"rawQueryString": []}),
    "headers that are a list": ("function_url_text", {"headers": []}),
    "a header that is a number": ("function_url_text", {"headers": {"content-type": 5}}),
    "cookies that are a text": ("http_api", {"cookies": "a=b"}),
    "a method's holder that is a text": ("function_url_text", {"requestContext": {"http": "POST"}}),
    "a stage that is a number": ("http_api", {"requestContext": {"stage": 5, "http": {"method": "GET"}}}),
    "path parameters that are a list": ("api_gateway_rest", {"pathParameters": []}),
    "a REST path that is an object": ("api_gateway_rest", {"path": {}}),
    "header lists that are texts": ("api_gateway_rest", {"multiValueHeaders": {"accept": "x"}}),
    "query lists that hold numbers": ("api_gateway_rest", {"multiValueQueryStringParameters": {"top_k": [5]}}),
    "a query that is a text": ("alb", {"queryStringParameters": "top_k=5"}),
    "a query's value that is a number": ("alb", {"queryStringParameters": {"top_k": 5}}),
}


@pytest.mark.parametrize("case", WRONG)
def test_events_that_are_not_what_they_should_be_are_refused_in_words(case: str) -> None:
    name, changes = WRONG[case]
    event = event_of(name) | changes
    adapter = classify(event)
    assert adapter is not None
    with pytest.raises(PredictError) as caught:
        adapter[0](event)
    assert caught.value.status == 400
    assert "must be" in caught.value.message or "must have" in caught.value.message


@pytest.mark.parametrize("query", ["x=%ff", "%ff=1", "x=%C3"])
def test_a_query_that_is_no_utf8_is_refused_by_its_name(query: str) -> None:
    event = event_of("function_url_text") | {"rawQueryString": query}
    adapter = classify(event)
    assert adapter is not None
    with pytest.raises(PredictError, match=r"the query '.*' is not percent-encoded UTF-8"):
        adapter[0](event)
