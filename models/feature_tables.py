"""The tables of a store of entity features, as `feast apply` makes them; Redis needs none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from function.aws.errors import AwsError

if TYPE_CHECKING:
    from function.features.tier import Store
    from function.features.view import View

_SECONDS = 60.0  # until a new DynamoDB table is there
_DDL = """CREATE TABLE IF NOT EXISTS {table} (
    entity_key bytea NOT NULL, feature_name text NOT NULL, value bytea, value_text text, vector_value bytea,
    event_ts timestamptz, created_ts timestamptz, PRIMARY KEY (entity_key, feature_name))"""


def create(store: Store, view: View) -> None:
    """Makes the view's table in `store` where there is none; raises what the store raises."""
    if type(store).__name__ == "PostgresStore":
        from function.features import postgres_store

        store._run(_DDL.format(table=postgres_store._table(view)))  # type: ignore[attr-defined]
    elif type(store).__name__ == "DynamoDbStore":
        from function.features import dynamodb_store

        _dynamodb(store, dynamodb_store._table(view))


def _dynamodb(store: Any, table: str) -> None:
    name = {"TableName": table}
    schema = {
        "AttributeDefinitions": [{"AttributeName": "entity_id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "entity_id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    try:
        store._call("DescribeTable", name)
    except AwsError:  # that it is not there; anything else fails here again
        store._call("CreateTable", name | schema)
    end = time.monotonic() + _SECONDS
    while store._call("DescribeTable", name)["Table"]["TableStatus"] != "ACTIVE" and time.monotonic() < end:
        time.sleep(0.5)
