"""The "parameters" of the Open Inference Protocol: which have a meaning here, and their JSON types."""

from __future__ import annotations

from function.codecs.json_body import describe, object_field
from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.codecs.json_body import Object

# name -> type and least value. All others are the caller's own: allowed by the protocol, and ignored.
_KNOWN = {
    "binary_data_output": (bool, 0),
    "binary_data": (bool, 0),
    "binary_data_size": (int, 0),
    "classification": (int, 1),
    "priority": (int, 0),  # of Triton's scheduler: a hint, ignored
    "timeout": (int, 0),  # likewise
    "uri": (str, ""),
}
_MOST = 100
_JSON_TYPE = {bool: "true or false", int: "a whole number", str: "a string"}
_UNSUPPORTED = {  # prefix -> what to do instead. They change the answer, so they are refused and not ignored.
    "shared_memory_": "send the tensor as JSON 'data' or as binary data",
    "sequence_": "send whole sequences; no state is kept between requests",
}


def read_parameters(holder: Object, where: str) -> dict[str, Any]:
    """The scalars under "parameters" of `holder`, {} without them.

    PredictError (INVALID_ARGUMENT) for one that is unsupported, has the wrong type, or comes twice.
    """
    parameters: dict[str, Any] = {}
    items = object_field(holder, "parameters", where)
    if items is None:
        return parameters
    if len(items) > _MOST:
        raise invalid(f"{where} has {len(items)} parameters; at most {_MOST} are taken")
    for name, value in items.fields():
        for prefix, mend in _UNSUPPORTED.items():
            if name.startswith(prefix):
                raise invalid(f"{where} has the parameter {describe(name)}, which is not supported; {mend}")
        if name in parameters:
            raise invalid(f"{where} has the parameter {describe(name)} twice; send it once")
        if value is not None and not isinstance(value, (str, int, float)):
            raise invalid(f"{where} has the parameter {describe(name)}, {describe(value)}; it must be a scalar")
        kind, least = _KNOWN.get(name, (None, 0))
        if kind is not None and (type(value) is not kind or value < least):  # type: ignore[operator]
            expected = _JSON_TYPE[kind] + (f" of {least} or more" if kind is int else "")
            raise invalid(f"{where} has the parameter {name!r} = {describe(value)}; it must be {expected}")
        parameters[name] = value
    return parameters
