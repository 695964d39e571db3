"""From Lambda's runtime API to the handler and back: one event, its context, its response or its error."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from function.events import event_text
from function.events.lambda_context import LambdaContext
from function.settings import set_xray_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from function.events.runtime_client import Invocation, RuntimeClient
    from function.settings import RuntimeSettings

    Handler = Callable[[Any, Any], Any]


def find_handler(client: RuntimeClient, name: str, settings: RuntimeSettings) -> Handler:
    """The function `package.module.function`; SystemExit 1 when it cannot be had, once Lambda has been told why."""
    try:
        return _imported(name)
    except Exception as error:  # noqa: BLE001  (whatever a module raises while it is imported)
        from function.events import failure

        # Where the first event has been asked for, INIT is over for Lambda, and the event fails in its place.
        failure.tell(client, error, settings, client.next() if client.asked else None)
        sys.exit(1)


def _imported(name: str) -> Handler:
    module_name, dot, attribute = name.rpartition(".")
    if not dot:
        raise _fault("MalformedHandlerName", f"Bad handler {name!r}: it must be package.module.function")
    try:
        if module_name.partition(".")[0] in sys.builtin_module_names:
            raise _fault("BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
        module = import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise _fault("ImportModuleError", f"Unable to import module {module_name!r}: {error}") from error
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise _fault("UserCodeSyntaxError", f"Syntax error in module {module_name!r}: {error}", trace) from error
    try:
        handler: Handler = getattr(module, attribute)
    except AttributeError as error:
        raise _fault("HandlerNotFound", f"Handler {attribute!r} missing on module {module_name!r}") from error
    return handler


def answer(client: RuntimeClient, handler: Handler, settings: RuntimeSettings) -> None:
    """Waits for an event and answers it; RuntimeApiError. What the handler raises is told to Lambda."""
    invocation = client.next()
    set_xray_header(invocation.headers.get("lambda-runtime-trace-id"))
    try:
        context = LambdaContext(invocation.headers, settings)
        body, content_type = _marshalled(handler(_event(invocation), context))
    except Exception as error:  # noqa: BLE001  (whatever a handler raises)
        from function.events import failure  # 3 ms

        failure.tell(client, error, settings, invocation)
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
        return json.dumps(answer).encode(), "application/json"
    except (TypeError, ValueError, RecursionError) as error:
        raise _fault("MarshalError", f"Unable to marshal response: {error}") from error


def _fault(kind: str, message: str, trace: list[str] | None = None) -> Exception:
    from function.events.failure import FaultError  # with traceback, which nothing else needs

    return FaultError(f"Runtime.{kind}", message, trace)
