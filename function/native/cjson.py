"""JSON by the C half of the standard library's `json`. Its Python half, which imports `re`, costs a cold start 4 ms."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}


class _Rules:
    """What json.JSONDecoder() tells the C scanner."""

    strict, object_hook, object_pairs_hook, array_hook = True, None, None, None
    parse_float, parse_int, parse_constant = float, int, _CONSTANTS.__getitem__


_c: Any = None
try:
    import _json as _c

    _scan = _c.make_scanner(_Rules)
    _c.make_encoder({}, None, _c.encode_basestring, None, ":", ",", False, False, False)
except (ImportError, AttributeError, TypeError):  # another Python, which wants something else
    _c = _scan = None


def loads(text: str | bytes | bytearray) -> Any:
    """As json.loads, with its exceptions."""
    try:
        string = text if isinstance(text, str) else text.decode()
        value, end = _scan(string, 0)
        if not string[end:].strip(" \t\n\r"):
            return value
    except (StopIteration, SystemError, TypeError, ValueError):
        pass  # white space before it, no JSON (SystemError: its exception is not imported yet), or no UTF-8
    import json

    return json.loads(text)


def dumps(
    value: object, *, ensure_ascii: bool = True, allow_nan: bool = True, separators: tuple[str, str] = (", ", ": ")
) -> str:
    """As json.dumps, with its exceptions."""
    if _c is None:
        import json

        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=allow_nan, separators=separators)
    quoted = _c.encode_basestring_ascii if ensure_ascii else _c.encode_basestring
    encode = _c.make_encoder({}, _refuse, quoted, None, separators[1], separators[0], False, False, allow_nan)
    return "".join(encode(value, 0))


def _refuse(value: object) -> None:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
