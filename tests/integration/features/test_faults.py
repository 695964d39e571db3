"""What goes wrong with a store, one test each: the policy's answer comes in time, and it is used once it is back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from bench.postgres import INITDB, postgres
from function.cache.resp import Connection
from function.features import tier
from function.features.join import Join
from function.features.redis_store import RedisStore
from function.features.view import Row, View
from function.settings import Settings
from tests.contract import feature_models
from tests.contract.client import Client, new_client
from tests.integration.aws.servers import VALKEY, Valkey
from tests.integration.features.conftest import LONG, create_table, redis_url
from tests.integration.features.servers import Fault

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

HANG = 4.0  # seconds; the store would take longer, and nobody waits for it
DEFAULT = {"sum": feature_models.DEFAULT_SUM + 100, "same": ""}
KNOWN = Row(1.0, {"mean": 10.25, "visits": 3, "stolen": False, "country": "AT"})
KNOWN_ANSWER: dict[str, Any] = {"sum": feature_models.KNOWN_SUM + 100, "same": "AT"}
needs_redis = pytest.mark.skipif(not VALKEY, reason="neither valkey-server nor redis-server is installed")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    """A Redis of this test alone, which it may stop."""
    made = Valkey(str(tmp_path))
    yield made
    made.stop()


@pytest.fixture
def fault() -> Iterator[Callable[[Callable[[socket.socket], None]], Fault]]:
    made: list[Fault] = []

    def make(behave: Callable[[socket.socket], None]) -> Fault:
        made.append(Fault(behave))
        return made[-1]

    yield make
    for each in made:
        each.close()


def fill(server: Any, view: View, row: Row = KNOWN, key: str = "c-1") -> None:
    store = RedisStore(urlsplit(redis_url(server)), 30)
    store.write([(view, view.entity_key({"card_id": key}), row)])
    store.close()


def ask(client: Client, key: str = "c-1", model: str = "cards") -> tuple[Any, str]:
    """The prediction and the status of what is a default; "" for nothing."""
    answer = client.post(f"/v1/models/{model}:predict", {"instances": [{"card_id": key, "amount": 100}]})
    if answer.status != 200:
        return answer.status, answer.headers.get("retry-after", "")
    told = answer.json["features"]["defaulted"]
    return answer.json["predictions"][0], told[0]["status"] if told else ""


def until(wanted: object, look: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while (found := look()) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.02)


def in_time(client: Client) -> None:
    """Each policy's answer of a store that gives none."""
    start = time.monotonic()
    for number in range(5):  # more than it takes the breaker to open
        assert ask(client, f"c-{number}") == (DEFAULT, "UNAVAILABLE")
        assert ask(client, f"c-{number}", "cards_last") == (DEFAULT, "UNAVAILABLE")
        assert ask(client, f"c-{number}", "cards_unavailable") == (503, "1")
    assert time.monotonic() - start < HANG


@needs_redis
def test_down_at_the_start_and_up_later(repository: Path, view: View, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tier, "COOLDOWN_S", 0.1)
    server = Valkey(str(tmp_path))
    server.stop()
    client = new_client(repository, "cards", FEATURES_URL=redis_url(server), FEATURES_DEADLINE_MS="500")
    in_time(client)
    server.start()
    fill(server, view)
    until((KNOWN_ANSWER, ""), lambda: ask(client))
    server.stop()


@needs_redis
def test_it_dies_under_load(repository: Path, view: View, server: Valkey) -> None:
    client = new_client(repository, "cards", FEATURES_URL=redis_url(server), FEATURES_DEADLINE_MS="500")
    for number in range(20):
        fill(server, view, key=f"c-{number}")
    seen: list[tuple[Any, str]] = []

    def load(first: int) -> None:
        seen.extend(ask(client, f"c-{number}") for number in range(first, first + 50))

    threads = [threading.Thread(target=load, args=(first,)) for first in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    server.stop()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 400
    assert set(map(str, seen)) <= {
        str(each) for each in ((KNOWN_ANSWER, ""), (DEFAULT, "NOT_FOUND"), (DEFAULT, "UNAVAILABLE"))
    }
    assert (DEFAULT, "UNAVAILABLE") in seen


def test_it_answers_much_too_late(repository: Path, fault: Any) -> None:
    def silent(connection: socket.socket) -> None:
        while not made.done.wait(5) and connection.recv(65536):
            connection.sendall(b"$-1\r\n")

    made = fault(silent)
    in_time(new_client(repository, "cards", FEATURES_URL=redis_url(made)))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"*5\r\n$3\r\nab",  # half an answer, and then the end
        b"*5\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n:7\r\n",  # no text where one has to be
        b"$2000000000\r\n",
        b"*5\r\n" + b"$4\r\n\xff\xff\xff\xff\r\n" * 5,  # no protobuf
        b"",
    ],
)
def test_it_answers_garbage(repository: Path, fault: Any, answer: bytes) -> None:
    def garbage(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    in_time(new_client(repository, "cards", FEATURES_URL=redis_url(fault(garbage)), FEATURES_DEADLINE_MS="500"))


@needs_redis
def test_restarted_with_other_data(tmp_path: Path, view: View, server: Valkey, monkeypatch: Any) -> None:
    """The kept connection is dead and the copy old: both are found out within max_age."""
    monkeypatch.setattr(feature_models, "VIEW", feature_models.VIEW.replace("max_age = 60", "max_age = 0.2"))
    feature_models.build(tmp_path / "models", more="")
    client = new_client(tmp_path / "models", "cards", FEATURES_URL=redis_url(server), FEATURES_DEADLINE_MS=LONG)
    fill(server, view)
    assert ask(client) == (KNOWN_ANSWER, "")
    server.stop()
    server.start()
    fill(server, view, Row(2.0, {**KNOWN.values, "visits": 4, "country": "DE"}))
    until(({"sum": KNOWN_ANSWER["sum"] + 1, "same": "DE"}, ""), lambda: ask(client))


@pytest.mark.skipif(INITDB is None, reason="no PostgreSQL server is installed")
def test_postgresql_has_no_connection_left(repository: Path, view: View, monkeypatch: Any) -> None:
    monkeypatch.setattr(tier, "COOLDOWN_S", 0.1)
    with postgres("max_connections=4", "superuser_reserved_connections=0") as database:
        create_table(database.url, view)
        taken = [database.connect() for _ in range(4)]
        with pytest.raises(Exception, match="too many clients"):
            database.connect()
        client = new_client(repository, "cards", FEATURES_URL=database.url, FEATURES_DEADLINE_MS="1000")
        assert ask(client) == (DEFAULT, "UNAVAILABLE")
        for connection in taken:
            connection.close()
        until((DEFAULT, "NOT_FOUND"), lambda: ask(client))


@needs_redis
def test_frozen_for_ten_minutes(view: View, server: Valkey) -> None:
    """The clock has moved when the process thaws, and the server has closed its connections meanwhile."""
    fill(server, view)
    join = Join(Settings({"FEATURES_URL": redis_url(server), "FEATURES_DEADLINE_MS": LONG}))
    assert join.columns([view], {"card_id": ["c-1"]}, 1)[0]["visits"] == [3]
    fill(server, view, Row(2.0, {**KNOWN.values, "visits": 4}))
    other = Connection(urlsplit(redis_url(server)), 30)
    other.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    other.close()
    now = time.monotonic
    join._memory._clock = lambda: now() + 600
    found, told = join.columns([view], {"card_id": ["c-1"]}, 1)
    assert (found["visits"], told.sources) == ([4], {"store": 1})


@needs_redis
def test_the_last_known_values(view: View, server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead server refuses connections: the policy's answer comes at once, long before the deadline."""
    monkeypatch.setattr(tier, "TIMEOUT_S", 60.0)  # a busy machine must meet neither this nor the deadline
    fill(server, view)
    join = Join(Settings({"FEATURES_URL": redis_url(server), "FEATURES_DEADLINE_MS": LONG}))
    assert join.columns([view], {"card_id": ["c-1"]}, 1)[0]["visits"] == [3]
    server.stop()
    now = time.monotonic
    join._memory._clock = lambda: now() + 600
    start = now()
    for policy, expected in (("default", [1000]), ("last", [3])):
        view.on_error = policy
        found, told = join.columns([view], {"card_id": ["c-1"]}, 1)
        assert found["visits"] == expected
        assert told.defaulted[0]["status"] == ("UNAVAILABLE" if policy == "default" else "LAST_KNOWN")
    view.on_error = "default"
    assert now() - start < float(LONG) / 1000  # nobody has waited for the deadline


@pytest.mark.parametrize("key", ["k" * 1_000_000, 7, None, "\ud800"])
def test_a_key_that_can_name_nobody(repository: Path, key: Any) -> None:
    assert ask(new_client(repository, "cards"), key)[0] == 400
