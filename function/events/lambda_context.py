"""What a handler is told beside the event: docs.aws.amazon.com/lambda/latest/dg/python-context.html."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.settings import RuntimeSettings

_CLIENT = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
_W3C = ("traceparent", "tracestate", "baggage")


class Fields:
    """Attributes of given names, None where the document has none."""

    def __init__(self, names: tuple[str, ...], document: dict[str, Any]) -> None:
        for name in names:
            setattr(self, name, document.get(name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


class LambdaContext(Fields):
    """The attributes and methods of AWS's own, with None where it has None.

    `streams`, which is not AWS's: the runtime client takes a StreamingAnswer too.
    """

    streams = True

    def __init__(self, headers: dict[str, str], settings: RuntimeSettings) -> None:
        """`headers` are the event's; FaultError where one that should be JSON is not."""
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        self.function_name = settings.function_name or None
        self.function_version = settings.function_version or None
        self.memory_limit_in_mb = str(settings.function_memory_mb) if settings.function_memory_mb else None
        self.log_group_name = settings.log_group_name or None
        self.log_stream_name = settings.log_stream_name or None
        deadline = headers.get("lambda-runtime-deadline-ms", "")
        self._deadline_ms = int(deadline) if deadline.isdecimal() else 0
        client = _json(headers, "lambda-runtime-client-context", "Client Context")
        w3c = client.pop("w3c", None) if client else None
        self._w3c: dict[str, str] = {}
        if isinstance(w3c, dict):
            self._w3c = {name: w3c[name] for name in _W3C if isinstance(w3c.get(name), str)}
        self.client_context: Any = None
        if client is not None:
            self.client_context = Fields(("custom", "env", "client"), client)
            if isinstance(client.get("client"), dict):
                self.client_context.client = Fields(_CLIENT, client["client"])
        cognito = _json(headers, "lambda-runtime-cognito-identity", "Cognito Identity") or {}
        identity = {
            "cognito_identity_id": cognito.get("cognitoIdentityId"),
            "cognito_identity_pool_id": cognito.get("cognitoIdentityPoolId"),
        }
        self.identity = Fields(tuple(identity), identity)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends this invocation; 0 where it has not said when."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def w3c(self) -> dict[str, str]:
        """The caller's W3C trace context."""
        return dict(self._w3c)

    def log(self, message: object) -> None:
        """Writes to the function's log, without an end of line."""
        import sys

        sys.stdout.write(str(message))


def _json(headers: dict[str, str], name: str, meaning: str) -> dict[str, Any] | None:
    """The object in a header; None without one."""
    if not (text := headers.get(name)):
        return None
    import json

    from function.events.failure import FaultError

    try:
        document = json.loads(text)
    except ValueError as error:
        raise FaultError("Runtime.LambdaContextUnmarshalError", f"Unable to parse {meaning} JSON: {error}") from error
    if not isinstance(document, dict):
        raise FaultError("Runtime.LambdaContextUnmarshalError", f"Unable to parse {meaning} JSON: it is no object")
    return document
