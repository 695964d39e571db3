"""Feature rows in DynamoDB as Feast materialises them: a table for each view, an item for each entity.

Layout: feast.infra.online_stores.dynamodb of Feast 0.67. One BatchGetItem for up to 100 rows, whatever their views.
"""

from __future__ import annotations

import json
from datetime import datetime

from pybase64 import b64decode, b64encode_as_string

from function.aws.client import Aws, AwsRequest
from function.features import feast_keys, feast_values
from function.features.view import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from function.features.view import View
    from function.settings import Settings

_READ_AT_ONCE = 100  # BatchGetItem's limit
_WRITE_AT_ONCE = 25  # BatchWriteItem's
_NO_VALUE = b"\xff"  # bytes that nothing can read, for an attribute that is not binary
_IN_VAIN = 3  # calls in a row of which nothing was done; then the table is throttled, and the caller is told


class DynamoDbStore:
    """The tables `{project}.{view}` of one region."""

    def __init__(self, settings: Settings, timeout: float) -> None:
        self._aws, self._timeout = Aws(settings), timeout

    def connect(self) -> None:
        """Nothing: the client connects with its first request."""

    def read(self, wanted: Sequence[tuple[View, bytes]]) -> list[Row | None]:
        """The row of each (view, entity key), None where there is none. AwsError, OSError."""
        places = [(_table(view), feast_keys.dynamodb_id(key)) for view, key in wanted]
        unique = list(dict.fromkeys(places))
        items: dict[tuple[str, str], Any] = {}
        in_vain = 0
        while unique:
            batch, unique = unique[:_READ_AT_ONCE], unique[_READ_AT_ONCE:]
            asked: dict[str, Any] = {}
            for table, entity in batch:
                asked.setdefault(table, {"Keys": []})["Keys"].append({"entity_id": {"S": entity}})
            answer = self._call("BatchGetItem", {"RequestItems": asked})
            for table, rows in answer["Responses"].items():
                items.update(((table, row["entity_id"]["S"]), row) for row in rows)
            undone = [
                (table, key["entity_id"]["S"])
                for table, left in answer.get("UnprocessedKeys", {}).items()
                for key in left["Keys"]
            ]
            in_vain = _in_vain(in_vain, len(batch), len(undone))
            unique += undone
        return [_row(view, items.get(place)) for (view, _), place in zip(wanted, places, strict=True)]

    def write(self, rows: Sequence[tuple[View, bytes, Row]]) -> None:
        """Stores the rows as Feast's writer does, of two of an entity the last one; raises as `read` does."""
        last = {(_table(view), key): (view, row) for view, key, row in rows}  # DynamoDB takes no item twice in a call
        left = [(table, {"PutRequest": {"Item": _item(view, key, row)}}) for (table, key), (view, row) in last.items()]
        in_vain = 0
        while left:
            batch, left = left[:_WRITE_AT_ONCE], left[_WRITE_AT_ONCE:]
            asked: dict[str, list[Any]] = {}
            for table, request in batch:
                asked.setdefault(table, []).append(request)
            answer = self._call("BatchWriteItem", {"RequestItems": asked})
            undone = [(table, each) for table, given in answer.get("UnprocessedItems", {}).items() for each in given]
            in_vain = _in_vain(in_vain, len(batch), len(undone))
            left += undone

    def _call(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        request = AwsRequest("dynamodb", "POST", "/", headers, json.dumps(fields).encode())
        answer: dict[str, Any] = json.loads(self._aws.request(request, timeout=self._timeout, attempts=1).body)
        return answer


def _in_vain(before: int, asked: int, undone: int) -> int:
    """How many calls in a row did nothing, with this one; ConnectionError when they are too many."""
    count = before + 1 if undone >= asked else 0
    if count >= _IN_VAIN:
        raise ConnectionError(f"DynamoDB left {undone} rows undone {count} times; the table is throttled")
    return count


def _table(view: View) -> str:
    return f"{view.project}.{view.name}"


def _row(view: View, item: Any) -> Row | None:
    if item is None:
        return None
    try:
        when = datetime.fromisoformat(item["event_ts"]["S"]).timestamp()
    except (KeyError, TypeError, ValueError):
        when = 0.0
    stored = item.get("values", {}).get("M", {})
    return Row.stored(
        when, {column.name: _binary(stored[column.name]) for column in view.columns if column.name in stored}
    )


def _binary(attribute: dict[str, Any]) -> bytes:
    try:
        return b64decode(attribute["B"], validate=True)
    except (KeyError, TypeError, ValueError):
        return _NO_VALUE


def _item(view: View, key: bytes, row: Row) -> dict[str, Any]:
    from datetime import UTC

    values = {
        column.name: {"B": b64encode_as_string(feast_values.encode(column.kind, row.values[column.name]))}
        for column in view.columns
        if column.name in row.values
    }
    return {
        "entity_id": {"S": feast_keys.dynamodb_id(key)},
        "event_ts": {"S": str(datetime.fromtimestamp(row.event_time, UTC))},
        "values": {"M": values},
    }
