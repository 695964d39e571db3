"""New features by records of SQS and Kinesis: written through, each failure where it came from, if that is allowed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.emulator import Emulator
from tests.contract.client import Client, new_client
from tests.integration.features.conftest import LONG, redis_url

if TYPE_CHECKING:
    from tests.integration.aws.servers import Valkey
    from tests.integration.features.conftest import Store

EVENTS = Path(__file__).parents[2] / "events"
ALLOWED = {"FEATURES_FROM_RECORDS": "1", "FEATURES_DEADLINE_MS": LONG}


def message(key: str, visits: object = 3, **changes: Any) -> dict[str, Any]:
    row = {"card_id": key, "mean": 10.25, "visits": visits, "stolen": False, "country": "AT"}
    return {"view": "card_stats", "rows": [row]} | changes


def sqs(*bodies: object) -> dict[str, Any]:
    template = json.loads((EVENTS / "sqs.json").read_text())["Records"][0]
    texts = [each if isinstance(each, str) else json.dumps(each) for each in bodies]
    return {"Records": [template | {"messageId": f"m-{number}", "body": text} for number, text in enumerate(texts)]}


def kinesis(*bodies: object) -> dict[str, Any]:
    """The event of `sam local generate-event kinesis get-records`, with records 0, 1, ..."""
    template = json.loads((EVENTS / "kinesis.json").read_text())["Records"][0]
    records = []
    for number, body in enumerate(bodies):
        data = body if isinstance(body, str) else base64.b64encode(json.dumps(body).encode()).decode()
        records.append(template | {"kinesis": template["kinesis"] | {"sequenceNumber": f"s-{number}", "data": data}})
    return {"Records": records}


def failed(client: Client, event: dict[str, Any]) -> list[str]:
    answer = client.handler(event, None)
    assert list(answer) == ["batchItemFailures"]
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def visits(repository: Path, store: dict[str, str], *keys: str) -> list[Any]:
    """What another environment reads."""
    client = new_client(repository, "cards", FEATURES_DEADLINE_MS=LONG, **store)
    body = {"entities": {"card_id": list(keys)}, "features": ["card_stats:visits"]}
    found: list[Any] = client.post("/get-online-features", body).json["results"][1]["values"]
    return found


@pytest.mark.parametrize("made", [sqs, kinesis])
def test_rows_are_written_through(repository: Path, store: Store, made: Any) -> None:
    client = new_client(repository, "cards", **ALLOWED, **store.variables)
    name = f"event-{made.__name__}"
    event = made(message(f"{name}-1", 1), message(f"{name}-2", 2), message(f"{name}-1", 7))
    assert failed(client, event) == []
    assert visits(repository, store.variables, f"{name}-1", f"{name}-2") == [7, 2]
    answer = client.post("/v1/models/cards:predict", {"instances": [{"card_id": f"{name}-1", "amount": 1}]})
    assert answer.json["predictions"] == [{"sum": 18.25, "same": "AT"}]
    assert 'desc="memory 100%"' in answer.headers["server-timing"]


BAD = [
    message("bad", 1.5),
    message("bad", view="nobody"),
    message("bad", rows=[]),
    message("bad", rows=[{"card_id": "bad"}]),
    message("bad", more=1),
    message(None),  # type: ignore[arg-type]
    {"rows": [], "view": 7},
    "{",
    "",
]


def test_each_message_of_sqs_fails_alone(
    repository: Path, redis_server: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    store = {"FEATURES_URL": redis_url(redis_server)}
    client = new_client(repository, "cards", **ALLOWED, **store)
    capsys.readouterr()
    assert failed(client, sqs(message("around-1"), *BAD, message("around-2"))) == [
        f"m-{number}" for number in range(1, len(BAD) + 1)
    ]
    assert visits(repository, store, "around-1", "around-2", "bad") == [3, 3, None]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()][: len(BAD) + 2]
    assert [line["status"] for line in lines][:3] == [200, 400, 404]
    assert lines[1]["error"].startswith("rows[0]: 'visits' is something else; a whole number")
    assert {line["source"] for line in lines} == {"sqs"}
    assert {line["route"] for line in lines[:4]} == {"/v1/features/{view}"}
    assert "around-1" not in json.dumps(lines)
    assert "10.25" not in json.dumps(lines)


def test_a_shard_of_kinesis_waits_for_its_first_failure(repository: Path, redis_server: Valkey) -> None:
    store = {"FEATURES_URL": redis_url(redis_server)}
    client = new_client(repository, "cards", **ALLOWED, **store)
    assert failed(client, kinesis(message("shard-1"), message("shard-2", "x"), message("shard-3"))) == ["s-1"]
    assert visits(repository, store, "shard-1", "shard-2", "shard-3") == [3, None, None]
    for bad in ("###", "", "e30="):
        assert failed(client, kinesis(bad, message("shard-3"))) == ["s-0"]
    event = kinesis(message("shard-3"))
    del event["Records"][0]["kinesis"]["sequenceNumber"]
    assert failed(client, event) == [""]
    assert visits(repository, store, "shard-3") == [None]


def test_without_the_setting_no_record_writes(repository: Path, redis_server: Valkey, capsys: Any) -> None:
    store = {"FEATURES_URL": redis_url(redis_server)}
    client = new_client(repository, "cards", ADMIN_KEY="sesame", FEATURES_DEADLINE_MS=LONG, **store)
    assert failed(client, sqs(message("not-allowed"))) == ["m-0"]
    assert "set FEATURES_FROM_RECORDS=1" in capsys.readouterr().out
    with pytest.raises(Exception, match=r"aws:kinesis are not served; .* of Kinesis with FEATURES_FROM_RECORDS=1"):
        client.handler(kinesis(message("not-allowed")), None)
    assert visits(repository, store, "not-allowed") == [None]


def test_the_setting_opens_no_route_to_anyone_else(repository: Path, redis_server: Valkey) -> None:
    client = new_client(repository, "cards", **ALLOWED, FEATURES_URL=redis_url(redis_server))
    assert client.post("/v1/features/card_stats", {"rows": message("x")["rows"]}).status == 404
    assert client.invoke(message("x"))["error"]


def test_a_store_that_is_down_gets_the_records_again(repository: Path, tmp_path: Path) -> None:
    from tests.integration.aws.servers import Valkey

    server = Valkey(str(tmp_path))
    server.stop()
    client = new_client(repository, "cards", **ALLOWED, FEATURES_URL=redis_url(server))
    assert failed(client, sqs(message("again"))) == ["m-0"]
    assert failed(client, kinesis(message("again"))) == ["s-0"]
    server.start()
    assert failed(client, sqs(message("again"))) == []
    server.stop()


def test_through_the_emulator(repository: Path, redis_server: Valkey) -> None:
    store = {"FEATURES_URL": redis_url(redis_server)}
    variables = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "cards", **ALLOWED, **store}
    with Emulator(env=variables) as emulator:
        event = kinesis(message("emulated-1"), message("emulated-2", "x"))
        answer = json.loads(emulator.invoke(json.dumps(event).encode()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "s-1"}]}
    assert visits(repository, store, "emulated-1") == [3]
