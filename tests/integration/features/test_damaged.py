"""Stored values that nobody can read: what else was asked for is answered, and the policy holds for them alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pg8000.native
import pytest

from function.cache.resp import Connection
from function.features import feast_keys
from function.features.dynamodb_store import DynamoDbStore
from function.features.join import Join
from function.features.view import Row
from function.settings import Settings
from tests.contract.client import new_client
from tests.integration.features.conftest import LONG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from function.features.view import View
    from tests.integration.features.conftest import Store

GOOD: dict[str, Any] = {"mean": 10.25, "visits": 3, "stolen": False, "country": "AT"}
CUT = b"\x29\x00"  # the head of a double, and one of its eight bytes


def damage(store: Store, view: View, key: str, name: str) -> None:
    """Puts bytes that are no Value in the place of one stored feature."""
    entity = view.entity_key({"card_id": key})
    url = store.variables["FEATURES_URL"]
    if store.kind == "redis":
        connection = Connection(urlsplit(url), 30)
        at = [column.name for column in view.columns].index(name)
        connection.command("HSET", entity + view.project.encode(), view.redis_fields[at], CUT)
        connection.close()
    elif store.kind == "postgres":
        server = pg8000.native.Connection("postgres", host="127.0.0.1", port=urlsplit(url).port, timeout=30)
        changed = "UPDATE fraud_card_stats SET value = :cut WHERE entity_key = :key AND feature_name = :name"
        server.run(changed, cut=CUT, key=entity, name=name)
        server.close()
    else:
        fields = {
            "TableName": "fraud.card_stats",
            "Key": {"entity_id": {"S": feast_keys.dynamodb_id(entity)}},
            "UpdateExpression": "SET #v.#n = :cut",
            "ExpressionAttributeNames": {"#v": "values", "#n": name},
            "ExpressionAttributeValues": {":cut": {"S": "no bytes at all"}},
        }
        DynamoDbStore(Settings(store.variables), 30)._call("UpdateItem", fields)


@pytest.fixture
def written(view: View, store: Store) -> Callable[[str], None]:
    """Stores the good row of a card."""

    def write(key: str) -> None:
        Join(settings(store)).lookup.write([(view, view.entity_key({"card_id": key}), Row(time.time(), GOOD))])

    return write


def settings(store: Store) -> Settings:
    return Settings({**store.variables, "FEATURES_DEADLINE_MS": LONG})


def asked(join: Join, view: View, policy: str, *keys: str) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    view.on_error = policy
    try:
        found, told = join.columns([view], {"card_id": list(keys)}, len(keys))
    finally:
        view.on_error = "default"
    return found, [(each["row"], each["status"], each["columns"]) for each in told.defaulted]


def test_one_value_that_cannot_be_read_is_a_default_and_the_rest_is_answered(
    view: View, store: Store, written: Callable[[str], None]
) -> None:
    for key in ("d-1", "d-2"):
        written(key)
    damage(store, view, "d-2", "mean")
    join = Join(settings(store))
    for policy in ("default", "last"):
        found, told = asked(join, view, policy, "d-1", "d-2")
        assert found == {"mean": [10.25, 0.5], "visits": [3, 3], "stolen": [False] * 2, "country": ["AT"] * 2}
        assert told == [(1, "UNAVAILABLE", ["mean"])]
    assert join.lookup.resting() == []


def test_the_last_known_value_stands_for_one_that_cannot_be_read(
    view: View, store: Store, written: Callable[[str], None]
) -> None:
    written("d-3")
    join = Join(settings(store))
    assert asked(join, view, "last", "d-3")[1] == []
    damage(store, view, "d-3", "visits")
    now = time.monotonic
    for later in (600, 1200):  # it is read anew twice
        join._memory._clock = lambda later=later: now() + later  # type: ignore[misc]
        found, told = asked(join, view, "last", "d-3")
        assert (found["visits"], told) == ([3], [(0, "LAST_KNOWN", [])])
    found, told = asked(join, view, "default", "d-3")
    assert (found["visits"], told) == ([1000], [(0, "UNAVAILABLE", ["visits"])])


def test_whoever_must_have_a_true_value_is_told(
    repository: Path, view: View, store: Store, written: Callable[[str], None]
) -> None:
    written("d-4")
    damage(store, view, "d-4", "country")
    client = new_client(repository, "cards_unavailable", FEATURES_DEADLINE_MS=LONG, **store.variables)
    answer = client.post("/v1/models/cards_unavailable:predict", {"instances": [{"card_id": "d-4", "amount": 1}]})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "cannot be read" in answer.error
    body = {"entities": {"card_id": ["d-4"]}, "features": ["card_stats:country", "card_stats:visits"]}
    _, country, visits = client.post("/get-online-features", body).json["results"]
    assert (country["values"], country["statuses"]) == ([None], ["INVALID"])
    assert (visits["values"], visits["statuses"]) == ([3], ["PRESENT"])
