"""Rows of a view in a CSV file whose head names its keys and columns: those that come with a model."""

from __future__ import annotations

import csv

from function.features.view import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from function.features.view import View


def rows(view: View, lines: Iterable[str], now: float, timestamp: str = "") -> Iterator[tuple[bytes, Row]]:
    """The entity key and the row of each line; an empty field is null. ValueError, PredictError for what is none.

    Observed at `now`, seconds since 1970, or as the column `timestamp` says, RFC 3339.
    """
    keys = {name: _READ[kind] for name, kind in view.keys.items()}
    columns = [(column.name, _READ[column.datatype]) for column in view.columns]
    reader = csv.reader(lines)
    at = {name: index for index, name in enumerate(next(reader, []))}
    key_places = [(name, at[name], read) for name, read in keys.items()]
    places = [(name, at[name], read) for name, read in columns]
    for line in reader:
        key = view.entity_key({name: read(line[index]) for name, index, read in key_places})
        values = {name: read(line[index]) if line[index] else None for name, index, read in places}
        yield key, Row(_seconds(line[at[timestamp]]) if timestamp else now, values)


def _seconds(text: str) -> float:
    from datetime import UTC, datetime

    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _flag(text: str) -> bool:
    return text.lower() in ("true", "1")


_READ: dict[str, Callable[[str], Any]] = {
    "BYTES": str,
    "BOOL": _flag,
    "INT32": int,
    "INT64": int,
    "FP32": float,
    "FP64": float,
}
