"""The views that Feast and the function both read: every type of value that is read here, and every kind of key."""

from __future__ import annotations

from typing import Any

PROJECT = "oracle"
AGED = "aged"  # the feature service, and the model, whose ttl is looked at
TTL_SECONDS = 86_400  # half of the observations are older
GAPS = 7  # one value in so many is null
ASKED, STRANGERS = 1000, 20  # entities of a request, and those of them that no store knows

_SCALARS = ["bytes", "pdf", "picture", "string", "int32", "int64", "float64", "float32", "bool", "timestamp"]
_TEXTS = ["json", "uuid", "time_uuid", "decimal"]  # texts with a type of their own
_LISTS = [kind for kind in [*_SCALARS, *_TEXTS] if kind not in ("pdf", "picture")]


def _features(prefix: str, kinds: list[str]) -> list[tuple[str, str]]:
    return [(f"{prefix}_{kind}", kind) for kind in kinds]


VIEWS: list[dict[str, Any]] = [
    {
        "name": "scalars",
        "keys": [("card_id", "BYTES")],
        "features": _features("s", _SCALARS + _TEXTS),
        "late": "s_late",
    },
    {
        "name": "lists",
        "keys": [("card_id", "BYTES")],
        "features": _features("l", [f"{kind}_list" for kind in _LISTS]),
        "late": "l_late",
    },
    {
        "name": "sets",
        "keys": [("shop_id", "INT64")],
        "features": _features("x", [f"{kind}_set" for kind in _LISTS if kind != "json"]),
        "late": "x_late",
    },
    {"name": "small", "keys": [("till_id", "INT32")], "features": _features("t", ["float32"]), "late": "t_late"},
    {
        "name": "pairs",
        "keys": [("shop_id", "INT64"), ("card_id", "BYTES")],
        "features": _features("p", ["int64", "string"]),
        "late": "p_late",
    },
]


def key(datatype: str, index: int) -> Any:
    """The key of the entity number `index`."""
    if datatype == "BYTES":
        return f"c-{index}-é'\0\r\n" if index % 5 == 0 else f"c-{index}"
    return index * (-(2**40) - 1) if datatype == "INT64" and index % 3 == 0 else index
