"""Rows of a view in a CSV file whose head names its keys and columns: those that come with a model."""

from __future__ import annotations

import csv
import math

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
    head = next(reader, [])
    at = {name: index for index, name in enumerate(head)}
    key_places = [(name, at[name], read) for name, read in keys.items()]
    places = [(name, at[name], read) for name, read in columns]
    for line in reader:
        if len(line) != len(head):
            raise ValueError(f"it has {len(line)} fields, the head {len(head)}")
        key = view.entity_key({name: read(line[index]) for name, index, read in key_places})
        values = {name: read(line[index]) if line[index] else None for name, index, read in places}
        yield key, Row(_seconds(line[at[timestamp]]) if timestamp else now, values)


def _seconds(text: str) -> float:
    from datetime import UTC, datetime

    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _flag(text: str) -> bool:
    if (flag := _FLAGS.get(text.lower())) is None:
        raise ValueError(f"{text!r} is no BOOL; true, false, 1 or 0 is expected")
    return flag


def _whole(bits: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if number + (1 << bits - 1) >> bits:  # stored as it is, its upper bits would be lost
            raise ValueError(f"{text} is out of the range of INT{bits}")
        return number

    return read


def _single(text: str) -> float:
    number = float(text)
    if _LARGEST < abs(number) != math.inf:
        raise ValueError(f"{text} is out of the range of FP32")
    return number


_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_LARGEST = 3.4028235e38  # of FP32
_READ: dict[str, Callable[[str], Any]] = {
    "BYTES": str,
    "BOOL": _flag,
    "INT32": _whole(32),
    "INT64": _whole(64),
    "FP32": _single,
    "FP64": float,
}
