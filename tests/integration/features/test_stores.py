"""Entity features from real stores: written by one environment, read by another, one query for many who ask."""

from __future__ import annotations

import threading
from base64 import b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from function.cache.resp import Connection
from function.features import feast_values
from function.features.dynamodb_store import DynamoDbStore
from function.features.join import Join
from function.features.view import Row, View
from function.settings import Settings
from tests.contract.client import Client, new_client
from tests.integration.features.conftest import LONG, create_table, redis_url

if TYPE_CHECKING:
    from pathlib import Path

    from bench.postgres import Postgres
    from tests.integration.aws.servers import Valkey
    from tests.integration.features.conftest import Store

KEY = {"X-Admin-Key": "sesame"}
ROW = {"mean": 10.25, "visits": 3, "stolen": False, "country": "AT"}
# What each protocol of a store would make of it, if it were put into a command as it is.
KEYS = [
    "plain",
    "",
    "nul\0nul",
    'quote\'"`; DROP TABLE "fraud_card_stats"; --',
    "$1; :keys %s {} \\",
    "line\nline\r\n",
    "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "é€😀",
    "k" * 1024,
]


def environment(repository: Path, store: Store, **more: str) -> Client:
    variables = {"ADMIN_KEY": "sesame", "FEATURES_DEADLINE_MS": LONG, **store.variables, **more}
    return new_client(repository, "cards", **variables)


def predicted(client: Client, keys: list[str], model: str = "cards") -> tuple[list[Any], list[Any]]:
    body = {"instances": [{"card_id": key, "amount": 100} for key in keys]}
    answer = client.post(f"/v1/models/{model}:predict", body)
    assert answer.status == 200, answer.body
    return answer.json["predictions"], answer.json["features"]["defaulted"]


def test_what_one_environment_writes_another_reads(repository: Path, store: Store) -> None:
    rows = [{"card_id": key, **ROW, "visits": index} for index, key in enumerate(KEYS)]
    written = environment(repository, store).post("/v1/features/card_stats", {"rows": rows}, KEY)
    assert (written.status, written.json["rows"]) == (200, len(KEYS)), written.body
    other = environment(repository, store)
    predictions, defaulted = predicted(other, [*KEYS, "nobody"])
    assert [each["sum"] for each in predictions[:-1]] == [10.25 + 100 + index for index in range(len(KEYS))]
    assert {each["same"] for each in predictions[:-1]} == {"AT"}
    assert [(each["row"], each["status"]) for each in defaulted] == [(len(KEYS), "NOT_FOUND")]


def test_nulls_and_the_times_of_observation(repository: Path, store: Store) -> None:
    row = {"card_id": "gap", **ROW, "mean": None, "event_timestamp": "2026-02-03T04:05:06.5Z"}
    assert environment(repository, store).post("/v1/features/card_stats", {"rows": [row]}, KEY).status == 200
    client = environment(repository, store)
    body = {"entities": {"card_id": ["gap", "nobody"]}, "features": ["card_stats:mean", "card_stats:visits"]}
    _, mean, visits = client.post("/get-online-features", body).json["results"]
    unknown = "PRESENT" if store.kind == "redis" else "NOT_FOUND"  # as Feast has it
    assert (mean["values"], mean["statuses"]) == ([None, None], ["PRESENT", unknown])
    assert visits["values"] == [3, None]
    assert visits["event_timestamps"] == ["2026-02-03T04:05:06.500Z", "1970-01-01T00:00:00Z"]
    _, defaulted = predicted(client, ["gap"])
    assert [(each["status"], each["columns"]) for each in defaulted] == [("NULL_VALUE", ["mean"])]


def test_a_batch_larger_than_a_stores_own_limit(repository: Path, store: Store) -> None:
    """DynamoDB reads 100 rows at once and writes 25."""
    keys = [f"many-{index}" for index in range(230)]
    rows = [{"card_id": key, **ROW, "visits": index} for index, key in enumerate(keys)]
    assert environment(repository, store).post("/v1/features/card_stats", {"rows": rows}, KEY).status == 200
    predictions, defaulted = predicted(environment(repository, store), [*keys, keys[0]])
    assert [each["sum"] for each in predictions] == [*(110.25 + index for index in range(230)), 110.25]
    assert not defaulted


def test_no_item_is_twice_in_a_call_of_dynamodb(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB refuses the whole call then, which moto does not."""
    sent: list[Any] = []

    def call(_: DynamoDbStore, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        sent.append((operation, fields["RequestItems"]["fraud.card_stats"]))
        return {}

    monkeypatch.setattr(DynamoDbStore, "_call", call)
    rows = [(view, view.entity_key({"card_id": f"c-{index % 3}"}), Row(1.0, {"visits": index})) for index in range(9)]
    DynamoDbStore(Settings({}), 30).write(rows)
    ((operation, items),) = sent
    assert (operation, len(items)) == ("BatchWriteItem", 3)
    values = [each["PutRequest"]["Item"]["values"]["M"]["visits"]["B"] for each in items]
    assert [feast_values.decode(b64decode(value)) for value in values] == [(feast_values.INT64, n) for n in (6, 7, 8)]


def test_a_value_of_another_type_than_the_column_is_a_default(
    repository: Path, redis_server: Valkey, view: View
) -> None:
    connection = Connection(urlsplit(redis_url(redis_server)), 30)
    text = feast_values.encode(feast_values.STRING, "many")
    key = view.entity_key({"card_id": "mistyped"})
    connection.command("HSET", key + b"fraud", view.redis_fields[0], text, view.redis_fields[1], text)
    connection.close()
    client = new_client(repository, "cards", FEATURES_URL=redis_url(redis_server), FEATURES_DEADLINE_MS=LONG)
    (prediction,), (told,) = predicted(client, ["mistyped"])
    assert prediction == {"sum": 1000 + 0.5 + 1 + 100, "same": ""}
    assert (told["status"], sorted(told["columns"])) == ("NULL_VALUE", ["country", "mean", "stolen", "visits"])


def test_three_tiers(repository: Path, redis_server: Valkey, postgres_server: Postgres, view: View) -> None:
    """What the database knows is written up to the near store, and serves from memory after that."""
    create_table(postgres_server.url, view)
    database = {"FEATURES_URL": postgres_server.url, "ADMIN_KEY": "sesame"}
    row = {"card_id": "three", **ROW}
    assert (
        new_client(repository, "cards", **database).post("/v1/features/card_stats", {"rows": [row]}, KEY).status == 200
    )
    tiers = {"FEATURES_URL": redis_url(redis_server), "FEATURES_DATABASE_URL": postgres_server.url}
    client = new_client(repository, "cards", FEATURES_DEADLINE_MS=LONG, **tiers)
    body = {"instances": [{"card_id": "three", "amount": 100}]}
    for source in ("database", "memory"):
        answer = client.post("/v1/models/cards:predict", body)
        assert answer.json["predictions"] == [{"sum": 113.25, "same": "AT"}]
        assert f'desc="{source} 100%"' in answer.headers["server-timing"]
    connection = Connection(urlsplit(redis_url(redis_server)), 30)
    key = view.entity_key({"card_id": "three"}) + b"fraud"
    for _ in range(1000):
        if connection.command("EXISTS", key):
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("the row was not written up")
    connection.close()


QUERY = """SELECT card_id, mean, visits, stolen, country, seen AS event_timestamp
           FROM own_cards, (SELECT nextval('asked')) AS counted WHERE card_id = ANY(:keys)"""


@pytest.fixture
def counted(postgres_server: Postgres) -> Any:
    """A view with a query of its own that counts how often it is asked; gives the view and the count."""
    postgres_server.run("CREATE SEQUENCE IF NOT EXISTS asked")
    postgres_server.run(
        "CREATE TABLE IF NOT EXISTS own_cards "
        "(card_id text, mean real, visits bigint, stolen boolean, country text, seen timestamptz)"
    )
    postgres_server.run("TRUNCATE own_cards")
    postgres_server.run(
        "INSERT INTO own_cards VALUES ('own', 1.5, 2, false, 'DE', now()), ('o''ther', 2, 0, true, '', now())"
    )

    def count() -> int:
        (row,) = postgres_server.run("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM asked")
        return int(row[0])

    return count


def own(view: View) -> View:
    view_document = {
        "view": "card_stats",
        "project": "fraud",
        "max_age": 60,
        "query": QUERY,
        "entity": [{"name": "card_id", "datatype": "BYTES"}],
        "columns": [
            {"name": column.name, "datatype": column.datatype, "default": column.default} for column in view.columns
        ],
    }
    return View(view_document)


def test_a_thousand_requests_for_one_cold_key_are_one_query(
    postgres_server: Postgres, view: View, counted: Any
) -> None:
    mine, before = own(view), counted()
    join = Join(Settings({"FEATURES_URL": postgres_server.url, "FEATURES_DEADLINE_MS": LONG}))
    found: list[Any] = []
    start = threading.Barrier(1000)

    def ask(name: str) -> None:
        start.wait(60)
        found.append(join.columns([mine], {"card_id": [name]}, 1)[0]["mean"])

    threads = [threading.Thread(target=ask, args=("own",)) for _ in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [[1.5]] * 1000
    assert counted() == before + 1


def test_an_unknown_key_is_one_query_in_its_max_age(postgres_server: Postgres, view: View, counted: Any) -> None:
    mine, before = own(view), counted()
    join = Join(Settings({"FEATURES_URL": postgres_server.url, "FEATURES_DEADLINE_MS": LONG}))
    for _ in range(20):
        found, told = join.columns([mine], {"card_id": ["nobody"]}, 1)
        assert (found["mean"], told.defaulted[0]["status"]) == ([0.5], "NOT_FOUND")
    assert counted() == before + 1


def test_keys_are_parameters_of_the_models_own_query(postgres_server: Postgres, view: View, counted: Any) -> None:
    join = Join(Settings({"FEATURES_URL": postgres_server.url, "FEATURES_DEADLINE_MS": LONG}))
    keys = ["own", "o'ther", "'; DROP TABLE own_cards; --", "$1", ":keys", "own' OR '1'='1"]
    found, _ = join.columns([own(view)], {"card_id": keys}, len(keys))
    assert found["mean"] == [1.5, 2.0, 0.5, 0.5, 0.5, 0.5]
    assert postgres_server.run("SELECT count(*) FROM own_cards") == [[2]]
