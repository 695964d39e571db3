"""The Lambda handler as a client sees it: freshly imported, asked by the events of any of its four sources."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import quote

from tests.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
KINDS = ("function_url", "http_api", "rest_api", "alb")


class Client:
    """One execution environment of the function, asked by events of one kind."""

    def __init__(self, handler: Callable[[Any, object], Any], kind: str = "function_url") -> None:
        self.handler, self.kind = handler, kind

    def of(self, kind: str) -> Client:
        """The same environment behind another event source."""
        return Client(self.handler, kind)

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, query: str = ""
    ) -> Answer:
        event = http_event(self.kind, method, path, body, headers=headers, query=query)
        # Through JSON, as on Lambda; the answer too must be JSON.
        answer = json.loads(json.dumps(self.handler(json.loads(json.dumps(event)), None)))
        text = answer["body"]
        content = base64.b64decode(text, validate=True) if answer["isBase64Encoded"] else text.encode()
        lower = {name.lower(): value for name, value in answer["headers"].items()}
        return Answer(answer["statusCode"], lower, content)

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None, query: str = "") -> Answer:
        """`body` as it is when it is bytes, else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content, headers, query)

    def invoke(self, event: object) -> Any:
        """A direct invoke: no envelope on either side."""
        answer = self.handler(event, None)
        assert isinstance(answer, bytes)
        return json.loads(answer)


def new_client(repository: Path, model: str = "digits", **variables: str) -> Client:
    """A new environment: the handler's module is executed anew with these variables.

    It loads its model with the first inference, so that a test can change the files before that.
    """
    environ = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": model, "LOAD_IN_INIT": "0", **variables}
    spec = importlib.util.spec_from_file_location("handler_under_test", ROOT / "function" / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(os.environ, environ):
        spec.loader.exec_module(module)
    return Client(module.handler)


def http_event(
    kind: str, method: str, path: str, body: bytes, *, headers: Mapping[str, str] | None = None, query: str = ""
) -> dict[str, Any]:
    """An event of one of KINDS. Bodies that are text come as text, all others as base64."""
    try:
        text, is_base64 = body.decode(), False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(body).decode(), True
    event: dict[str, Any] = {"headers": dict(headers or {}), "body": text or None, "isBase64Encoded": is_base64}
    pairs = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    if kind in ("function_url", "http_api"):
        domain = "id.execute-api.eu-west-1.amazonaws.com" if kind == "http_api" else "id.lambda-url.eu-west-1.on.aws"
        return event | {
            "version": "2.0",
            "rawPath": path if kind == "http_api" else quote(path),
            "rawQueryString": query,
            "requestContext": {"domainName": domain, "stage": "$default", "http": {"method": method, "path": path}},
        }
    event |= {"httpMethod": method, "path": quote(path), "queryStringParameters": pairs}
    if kind == "alb":
        return event | {"requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:::targetgroup/a/b"}}}
    return event | {
        "resource": "/{proxy+}",
        "pathParameters": {"proxy": quote(path).lstrip("/")},
        "multiValueQueryStringParameters": {name: [value] for name, value in pairs.items()},
        "multiValueHeaders": {name: [value] for name, value in (headers or {}).items()},
        "requestContext": {"stage": "prod", "resourcePath": "/{proxy+}"},
    }
