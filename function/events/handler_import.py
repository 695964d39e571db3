"""The handler by its name: imported, or Lambda told why it cannot be."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from function.events.runtime_client import RuntimeClient
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
        module_name = module_name.replace("/", ".")
        __import__(module_name)  # importlib costs 0.3 ms
    except ImportError as error:
        raise _fault("ImportModuleError", f"Unable to import module {module_name!r}: {error}") from error
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise _fault("UserCodeSyntaxError", f"Syntax error in module {module_name!r}: {error}", trace) from error
    try:
        handler: Handler = getattr(sys.modules[module_name], attribute)
    except AttributeError as error:
        raise _fault("HandlerNotFound", f"Handler {attribute!r} missing on module {module_name!r}") from error
    return handler


def _fault(kind: str, message: str, trace: list[str] | None = None) -> Exception:
    from function.events.failure import FaultError  # with traceback, which nothing else needs

    return FaultError(f"Runtime.{kind}", message, trace)
