"""The bodies of Feast's feature server (0.67): which features of which entities, their values; and rows to write."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime

from function.codecs.json_body import Array, Object, array_field, check_fields, describe, object_field, parse
from function.codecs.values import shown, takes
from function.errors import invalid
from function.features.view import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from function.features.view import View
    from function.messages import Body

_FIELDS = ("entities", "features", "feature_service", "full_feature_names", "include_feature_view_version_metadata")
NEVER = "1970-01-01T00:00:00Z"
TIMESTAMP = "event_timestamp"


class Wanted:
    """What POST /get-online-features asks for: `features` as "view:feature", or those of `service`."""

    __slots__ = ("entities", "features", "full_names", "service")

    def __init__(self, body: Body) -> None:
        """PredictError (INVALID_ARGUMENT) for all that is not such a request."""
        root = parse(body)
        check_fields(root, _FIELDS, "the request")
        entities = object_field(root, "entities", "the request")
        if entities is None or not len(entities):
            raise invalid('the request needs "entities", such as {"card_id": ["c-1", "c-2"]}')
        self.entities: dict[str, list[Any]] = {}
        for name, values in entities.fields():
            if not isinstance(values, Array):
                raise invalid(f"entities has {name!r}, which must be an array of keys; it is {describe(values)}")
            self.entities[name] = list(values)
        if len({len(values) for values in self.entities.values()}) != 1:
            raise invalid("the arrays of 'entities' have different lengths; send a value of each key for each row")
        self.features: list[str] = []
        for feature in array_field(root, "features", "the request") or ():
            if not isinstance(feature, str) or feature.count(":") != 1:
                raise invalid(f'a feature is {describe(feature)}; a text such as "card_stats:mean_1d" is expected')
            self.features.append(feature)
        service, full_names = root.get("feature_service") or "", root.get("full_feature_names") or False
        if bool(self.features) == bool(service) or not isinstance(service, str):
            raise invalid('the request needs either "features", an array of "view:feature", or "feature_service"')
        if not isinstance(full_names, bool):
            raise invalid(f"'full_feature_names' is {describe(full_names)}; true or false is expected")
        self.service, self.full_names = service, full_names

    def __len__(self) -> int:
        """Rows."""
        return len(next(iter(self.entities.values())))


class Column:
    """One name of the answer: its value, status and time for each row. Times are as `time_text` writes them.

    Columns of one view may share their lists of statuses and times: these are then written once.
    """

    __slots__ = ("name", "statuses", "times", "values")

    def __init__(self, name: str, values: Sequence[Any], statuses: list[str], times: list[str]) -> None:
        self.name, self.values, self.statuses, self.times = name, values, statuses, times


def answer(columns: Sequence[Column]) -> bytes:
    """The answer's JSON."""
    shared: dict[int, str] = {}  # by the identity of a list, which `columns` keep alive

    def once(texts: list[str]) -> str:
        if (found := shared.get(id(texts))) is None:
            found = shared[id(texts)] = _json(texts)
        return found

    results = [
        f'{{"values":{_values(column.values)},"statuses":{once(column.statuses)},'
        f'"event_timestamps":{once(column.times)}}}'
        for column in columns
    ]
    names = _json([column.name for column in columns])
    text = f'{{"metadata":{{"feature_names":{names}}},"results":[{",".join(results)}]}}'
    return text.encode("utf-8", "replace")


def _values(values: Sequence[Any]) -> str:
    try:
        return _json(values)
    except (TypeError, ValueError):  # bytes, or a number that JSON has no form for
        return _json(list(map(_plain, values)))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, bytes):
        from pybase64 import b64encode_as_string  # 1 ms

        return b64encode_as_string(value)
    return list(map(_plain, value)) if isinstance(value, list) else value


def time_text(seconds: float) -> str:
    """As protobuf's JSON: no fraction, or three or six digits of it. `seconds` since 1970, 0 where they are unknown."""
    if not seconds:
        return NEVER
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    when = datetime.fromtimestamp(whole, UTC).isoformat()[:19]
    if micros % 1000:
        return f"{when}.{micros:06d}Z"
    return f"{when}.{micros // 1000:03d}Z" if micros else f"{when}Z"


def rows(body: Body, view: View, show: Callable[[object], str] = shown) -> Iterator[tuple[bytes, Row]]:
    """The entity key and the row of each of {"rows": [{...}]}: every key and column of the view, null where unknown.

    `view`, if it is sent, has to be this one. `show`: what the messages say of a value that does not fit.

    `event_timestamp`, RFC 3339, says when it was observed; without it, now. PredictError (INVALID_ARGUMENT).
    """
    root = parse(body)
    check_fields(root, ("rows", "view"), "the request")
    if (named := root.get("view")) not in (None, view.name):
        raise invalid(f"'view' is {describe(named)}; these rows would go to {view.name!r}")
    found = array_field(root, "rows", "the request")
    if found is None or not len(found):
        raise invalid('the request needs "rows", an array of at least one object')
    names = [*view.keys, *(column.name for column in view.columns)]
    for index, row in enumerate(found):
        where = f"rows[{index}]"
        if not isinstance(row, Object):
            raise invalid(f"{where} is {describe(row)}; an object is expected")
        check_fields(row, (*names, TIMESTAMP), where)
        fields: dict[str, Any] = dict(row.fields())
        if lacking := [name for name in names if name not in fields]:
            raise invalid(f"{where} lacks {', '.join(lacking)}; send null for what is unknown")
        for column in view.columns:
            value = fields[column.name]
            if value is not None and not column.holds(value):
                raise invalid(f"{where}: {column.name!r} is {show(value)}; {takes(column.datatype)} is expected")
        seconds = _seconds(fields.get(TIMESTAMP), where, show)
        yield view.entity_key(fields), Row(seconds, {column.name: fields[column.name] for column in view.columns})


def _seconds(text: object, where: str, show: Callable[[object], str]) -> float:
    if text is None:
        return time.time()
    try:
        when = datetime.fromisoformat(text)  # type: ignore[arg-type]  # a TypeError says what came
        return when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise invalid(f"{where}: {TIMESTAMP} is {show(text)}; such as 2026-01-31T12:00:00Z is expected") from None
