"""A DynamoDB table as the result cache's second tier: items {key: S, entry: B, expires: N}, partition key `key`."""

from __future__ import annotations

import json
import time

from function.aws.client import Aws, AwsRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.settings import Settings


class DynamoDb:
    """Entries in the table `table`; `expires` (seconds since 1970) is meant for the table's time to live."""

    def __init__(self, settings: Settings, table: str, keep: int) -> None:
        self._aws, self._table, self._keep = Aws(settings), table, keep

    def get(self, key: str) -> bytes | None:
        from pybase64 import b64decode

        item = self._call("GetItem", {"Key": {"key": {"S": key}}}).get("Item")
        # DynamoDB deletes expired items within days only.
        if item is None or float(item["expires"]["N"]) < time.time():
            return None
        return b64decode(item["entry"]["B"], validate=True)

    def put(self, key: str, entry: bytes) -> None:
        from pybase64 import b64encode_as_string

        expires = str(int(time.time()) + self._keep)
        item = {"key": {"S": key}, "entry": {"B": b64encode_as_string(entry)}, "expires": {"N": expires}}
        self._call("PutItem", {"Item": item})

    def _call(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        body = json.dumps({"TableName": self._table} | fields).encode()
        answer = self._aws.request(AwsRequest("dynamodb", "POST", "/", headers, body), timeout=1.0, attempts=1)
        found: dict[str, Any] = json.loads(answer.body)
        return found
