"""What a feature view is: its entity, its columns, and how old its values may be."""

from __future__ import annotations

from function.errors import PredictError
from function.features import feast_keys, feast_values
from function.features.protobuf import ValueFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from function.features.feast_values import Value

# Protocol datatypes <-> the types of Feast's Value (and of its entity keys, whose numbers are the same).
KINDS = {
    "BYTES": feast_values.STRING,
    "INT32": feast_values.INT32,
    "INT64": feast_values.INT64,
    "FP64": feast_values.DOUBLE,
    "FP32": feast_values.FLOAT,
    "BOOL": feast_values.BOOL,
}
# Python types of a datatype's values, and their least and greatest; a comparison with NaN is false.
_FITS: dict[str, tuple[tuple[type, ...], Any, Any]] = {
    "BYTES": ((str, bytes), None, None),
    "BOOL": ((bool,), None, None),
    "INT32": ((int,), -(1 << 31), (1 << 31) - 1),
    "INT64": ((int,), -(1 << 63), (1 << 63) - 1),
    "FP32": ((float, int), -3.4028235e38, 3.4028235e38),
    "FP64": ((float, int), -1.7976931348623157e308, 1.7976931348623157e308),
}
_KEY_RANGES = {"INT32": 31, "INT64": 63}
_KEY_LIMIT = 1024  # bytes of one key's value
_NOTHING: Mapping[str, Any] = {}  # most rows have nothing that cannot be read


class Column:
    """A feature: `default` stands for a value that is missing, null or too old; None lets the model's own rule hold."""

    __slots__ = ("_fits", "datatype", "default", "kind", "name")

    def __init__(self, name: str, datatype: str, default: Any = None) -> None:
        self.name, self.datatype, self.default = name, datatype, default
        self.kind = KINDS[datatype]
        self._fits = _FITS[datatype]

    def holds(self, value: Any) -> bool:
        """Whether a stored value is the datatype's: a store may hold another type, or NaN, which is no observation."""
        kinds, least, most = self._fits
        return type(value) in kinds and (least is None or least <= value <= most)


class Row:
    """What a store holds about an entity: each column's value, None for null, and when it was observed.

    `event_time`: seconds since 1970, 0 where it is unknown. A column that the store does not have is not in `values`.
    Nor is one whose value cannot be read: it is in `unreadable`, with the last value that could be, else None.
    """

    __slots__ = ("event_time", "unreadable", "values")

    def __init__(
        self, event_time: float, values: Mapping[str, Value], unreadable: Mapping[str, Value] = _NOTHING
    ) -> None:
        self.event_time, self.values, self.unreadable = event_time, values, unreadable

    @classmethod
    def stored(cls, event_time: float, values: Mapping[str, bytes | None]) -> Row:
        """Of Feast's Values by column; None or nothing for null. Never raises."""
        read: dict[str, Value] = {}
        unreadable: dict[str, Value] = {}
        for name, value in values.items():
            try:
                read[name] = feast_values.decode(value)[1] if value else None
            except ValueFormatError:
                unreadable[name] = None
        return cls(event_time, read, unreadable or _NOTHING)

    def missing(self) -> bool:
        """Whether the store knows nothing about the entity. Redis says so by nulls alone."""
        return not self.event_time and not self.unreadable and all(value is None for value in self.values.values())

    def with_last(self, last: Row) -> Row:
        """The same, with the values of an older row for what cannot be read."""
        known = {name: last.values.get(name, last.unreadable.get(name)) for name in self.unreadable}
        return Row(self.event_time, self.values, known)


class View:
    """One [[features]] of a model: `keys` are its join keys with their datatypes, BYTES or integers."""

    __slots__ = (
        "_key_names",
        "_sorted_keys",
        "columns",
        "file",
        "keys",
        "max_age",
        "name",
        "names",
        "on_error",
        "project",
        "query",
        "redis_fields",
        "scope",
        "ttl",
    )

    def __init__(self, document: Mapping[str, Any]) -> None:
        """From model.json. `max_age` (of a copy) and `ttl` (of an observation) in seconds, 0 for ever.

        `query` is empty for tables in Feast's layout, `file` where no rows come with the model.
        """
        self.name: str = document["view"]
        self.project: str = document["project"]
        self.keys: dict[str, str] = {key["name"]: key["datatype"] for key in document["entity"]}
        self.columns = tuple(
            Column(each["name"], each["datatype"], each.get("default")) for each in document["columns"]
        )
        self.max_age: float = document.get("max_age", 0)
        self.ttl: float = document.get("ttl", 0)
        self.on_error: str = document.get("on_error", "default")
        self.query: str = document.get("query", "")
        self.file: str = document.get("file", "")
        self._sorted_keys = [(name, datatype, KINDS[datatype]) for name, datatype in sorted(self.keys.items())]
        self._key_names = feast_keys.key_names(sorted(self.keys))
        self.names = names = [column.name for column in self.columns]
        # What rows in memory go by: two models may name different columns of one view.
        self.scope = "\0".join((self.project, self.name, *names))
        self.redis_fields = [*(feast_keys.redis_field(self.name, name) for name in names), f"_ts:{self.name}".encode()]

    def entity_key(self, row: Mapping[str, Any]) -> bytes:
        """The stored name of the entity that a request's row is about.

        PredictError (INVALID_ARGUMENT) for a join key that is missing, of another type or too long.
        """
        key = self._key_names
        for name, datatype, kind in self._sorted_keys:
            key += feast_keys.key_value(kind, _checked(name, datatype, row))
        return key


def _checked(name: str, datatype: str, row: Mapping[str, Any]) -> int | str:
    if name not in row:
        raise PredictError("INVALID_ARGUMENT", f"the entity key {name!r} is missing; it names whom the row is about")
    value = row[name]
    if datatype == "BYTES":
        if isinstance(value, str) and len(value) <= _KEY_LIMIT and len(_utf8(name, value)) <= _KEY_LIMIT:
            return value
        what = f"a text of {len(value)} characters" if isinstance(value, str) else _type_name(value)
        raise PredictError(
            "INVALID_ARGUMENT", f"the entity key {name!r} must be a text of at most {_KEY_LIMIT} bytes, not {what}"
        )
    bits = _KEY_RANGES[datatype]
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << bits) <= value < 1 << bits:
        return value
    raise PredictError("INVALID_ARGUMENT", f"the entity key {name!r} must be {datatype}, not {_type_name(value)}")


def _utf8(name: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise PredictError("INVALID_ARGUMENT", f"the entity key {name!r} holds a character that is no text") from error


def _type_name(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "an integer out of its range" if abs(value) >> 31 else "an integer"
    return "null" if value is None else type(value).__name__
