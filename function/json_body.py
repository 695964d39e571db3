"""JSON bodies: parsed by simdjson into read-only proxies; a mistake is refused with its place."""

from __future__ import annotations

import sys
from threading import local

from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from simdjson import Array, Object

# One parser for each thread: its memory is re-used, a new one pays page faults on a big body.
_own = local()

_REASONS = {  # what simdjson refuses and the standard library would take
    "DEPTH_ERROR": "it is nested deeper than 1,024 levels",
    "BIGINT_ERROR": "an integer does not fit into 64 bits; write it with a decimal point or an exponent",
    "NUMBER_ERROR": "a number is too large: integers have up to 64 bits, others are below 1.8e308",
    "STRING_ERROR": "a string has an escape for half a surrogate pair",
}


def parse(body: bytes) -> Object:
    """The JSON object in `body`, as a proxy: nothing becomes a Python object before it is asked for.

    PredictError (INVALID_ARGUMENT) when the body is empty, is not JSON, or is not an object.
    """
    if not body:
        raise invalid("the body is empty; send a JSON object")
    try:
        root: Object = _parsed(body)
    except (ValueError, RuntimeError) as error:
        raise invalid(f"the body is not JSON that can be read: {_reason(body, str(error))}") from None
    if type(root).__name__ != "Object":
        raise invalid(f"the body must be a JSON object, {{...}}; it is {describe(root)}")
    return root


def _parsed(body: bytes) -> Any:
    parser = getattr(_own, "parser", None)
    if parser is not None:
        try:
            return parser.parse(body)
        except RuntimeError:
            pass  # proxies of an earlier body still live (in a traceback, say): that parser stays theirs
    _own.parser = parser = _new_parser()
    return parser.parse(body)


def forget_parser() -> None:
    """Frees this thread's parser, which keeps several times the memory of the largest body so far."""
    _own.__dict__.clear()


def _new_parser() -> Any:
    """A Parser of csimdjson, which imports pathlib, 4 ms of a cold start, for Parser.load alone, which nobody calls.

    Where nothing has imported pathlib yet, a stand-in takes its place for the half millisecond of the import.
    """
    if "csimdjson" not in sys.modules and "pathlib" not in sys.modules:
        sys.modules["pathlib"] = type(sys)("pathlib")
        try:
            import csimdjson
        finally:
            del sys.modules["pathlib"]
    else:
        import csimdjson
    return csimdjson.Parser()


def _reason(body: bytes, error: str) -> str:
    """What is wrong and where: simdjson gives no place, so the standard library reads it again."""
    import json

    def not_a_number(literal: str) -> None:
        raise ValueError(f"{literal} is no JSON number; tensors with NaN or Infinity can be sent as binary data")

    try:
        json.loads(body.decode(), parse_constant=not_a_number)
    except UnicodeDecodeError as wrong:
        return f"it is not UTF-8 (byte 0x{body[wrong.start]:02x} at offset {wrong.start})"
    except json.JSONDecodeError as wrong:
        return f"{wrong.msg} at line {wrong.lineno}, column {wrong.colno}"
    except RecursionError:
        return _REASONS["DEPTH_ERROR"]
    except ValueError as wrong:
        return str(wrong)
    return _REASONS.get(error.partition(":")[0], error)


def describe(value: object) -> str:
    """A JSON value as a message shows it: short, and by kind where it is an array or object."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (str, int, float)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return "an array" if type(value).__name__ == "Array" else "an object"


def check_fields(holder: Object, known: Collection[str], where: str) -> None:
    """PredictError when `holder` has a field that is not in `known`, or one twice."""
    seen = set()
    for field in holder:
        if field not in known:
            raise invalid(f"{where} has the unknown field {describe(field)}; known: {', '.join(known)}")
        if field in seen:
            raise invalid(f"{where} has the field {describe(field)} twice; send it once")
        seen.add(field)


def string_field(holder: Object, field: str, where: str) -> str:
    """The string under `field`; PredictError when it is missing or something else."""
    value = holder.get(field)
    if not isinstance(value, str):
        came = "it is missing" if value is None else f"it is {describe(value)}"
        raise invalid(f"{where} needs {field!r}, a string; {came}")
    return value


def array_field(holder: Object, field: str, where: str) -> Array | None:
    """The array under `field`, None when it is missing or null; PredictError when it is something else."""
    value = holder.get(field)
    if value is not None and type(value).__name__ != "Array":
        raise invalid(f"{where} has {field!r}, which must be an array; it is {describe(value)}")
    return value  # type: ignore[return-value]


def object_field(holder: Object, field: str, where: str) -> Object | None:
    """The object under `field`, None when it is missing or null; PredictError when it is something else."""
    value = holder.get(field)
    if value is not None and type(value).__name__ != "Object":
        raise invalid(f"{where} has {field!r}, which must be an object; it is {describe(value)}")
    return value  # type: ignore[return-value]
