"""From Lambda's runtime API to the handler and back: one event, its context, its response or its error."""

from __future__ import annotations

from function.events import event_text
from function.events.http_response import StreamingAnswer  # which the handler has imported
from function.events.lambda_context import LambdaContext
from function.native import cjson
from function.settings import set_xray_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from function.events.runtime_client import Invocation, RuntimeClient
    from function.settings import RuntimeSettings

    Handler = Callable[[Any, Any], Any]


def answer(client: RuntimeClient, handler: Handler, settings: RuntimeSettings) -> None:
    """Waits for an event and answers it; RuntimeApiError. What the handler raises is told to Lambda."""
    invocation = client.next()
    set_xray_header(invocation.headers.get("lambda-runtime-trace-id"))
    try:
        context = LambdaContext(invocation.headers, settings)
        result = handler(_event(invocation), context)
        body, content_type = (b"", "") if isinstance(result, StreamingAnswer) else _marshalled(result)
    except Exception as error:  # noqa: BLE001  (whatever a handler raises)
        from function.events import failure  # 3 ms

        failure.tell(client, error, settings, invocation)
        return
    if isinstance(result, StreamingAnswer):
        client.stream(invocation, result, lambda error: _described(error, settings, invocation))
    else:
        client.respond(invocation, body, content_type)


def _event(invocation: Invocation) -> Any:
    """The event as an object; bytes where Lambda says that it is no JSON. The invocation no longer has its text."""
    text, invocation.body = invocation.body, bytearray()
    if invocation.headers.get("content-type") != "application/json":
        return bytes(text)
    try:
        return event_text.loads(text)
    except (ValueError, RecursionError) as error:
        raise _fault("UnmarshalError", f"Unable to unmarshal input: {error}") from error


def _marshalled(answer: Any) -> tuple[bytes, str]:
    """A handler's answer and its Content-Type: bytes pass as they are."""
    if isinstance(answer, bytes):
        return answer, "application/unknown"
    try:
        return cjson.dumps(answer).encode(), "application/json"
    except (TypeError, ValueError, RecursionError) as error:
        raise _fault("MarshalError", f"Unable to marshal response: {error}") from error


def _described(error: Exception, settings: RuntimeSettings, invocation: Invocation) -> tuple[str, bytes]:
    from function.events import failure

    return failure.described(error, settings, invocation)[:2]


def _fault(kind: str, message: str) -> Exception:
    from function.events.failure import FaultError  # with traceback, which nothing else needs

    return FaultError(f"Runtime.{kind}", message)
