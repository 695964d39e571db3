"""`zeroserve features load`: rows of a file into a store, whole, once, and on from where it was stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from function.cache.resp import Connection
from function.features.join import Join
from function.settings import Settings
from infra import venvs
from models import features_load
from models.features_load import LoadError
from tests.contract.client import new_client
from tests.integration.aws.servers import VALKEY, Valkey
from tests.integration.features.conftest import LONG, redis_url
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from function.features.view import View
    from tests.integration.features.conftest import Store

HEAD = "card_id,mean,visits,stolen,country"
HANG = 120  # seconds


def settings(store: Store) -> Settings:
    return Settings({**store.variables, "FEATURES_DEADLINE_MS": LONG})


def found(view: View, store: Store, *keys: str) -> tuple[dict[str, Any], list[Any]]:
    """The columns' values of these cards, and the rows that have a default."""
    columns, told = Join(settings(store)).columns([view], {"card_id": list(keys)}, len(keys))
    return columns, [(each["row"], each["status"], each["columns"]) for each in told.defaulted]


def written(path: Path, *lines: str, head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *lines, ""]))
    return path


def test_a_csv_is_in_the_store(tmp_path: Path, repository: Path, view: View, store: Store) -> None:
    lines = ["csv-1,10.25,3,false,AT", "csv-2,,-4,TRUE,", 'csv-3,1e3,0,1,"a, ""b"""']
    path = written(tmp_path / "cards.csv", *lines)
    assert features_load.load(path, view, settings(store)) == 3
    columns, defaulted = found(view, store, "csv-1", "csv-2", "csv-3", "csv-4")
    assert columns["mean"] == [10.25, 0.5, 1000.0, 0.5]
    assert columns["visits"] == [3, -4, 0, 1000]
    assert columns["stolen"] == [False, True, True, True]
    assert columns["country"] == ["AT", "", 'a, "b"', ""]
    assert [each[:2] for each in defaulted] == [(1, "NULL_VALUE"), (3, "NOT_FOUND")]


def test_times_a_spreadsheets_mark_and_columns_in_another_order(
    tmp_path: Path, repository: Path, view: View, store: Store
) -> None:
    head = "\ufeffcountry,event_timestamp,visits,note,card_id,stolen,mean"
    path = written(tmp_path / "cards.csv", "DE,2026-02-03T04:05:06.5Z,7,x,timed,0,2", head=head)
    assert features_load.load(path, view, settings(store)) == 1
    client = new_client(repository, "cards", FEATURES_DEADLINE_MS=LONG, **store.variables)
    body = {"entities": {"card_id": ["timed"]}, "features": ["card_stats:visits", "card_stats:country"]}
    _, visits, country = client.post("/get-online-features", body).json["results"]
    assert (visits["values"], country["values"]) == ([7], ["DE"])
    assert visits["event_timestamps"] == ["2026-02-03T04:05:06.500Z"]


def test_of_two_rows_of_an_entity_the_last_one_counts(tmp_path: Path, view: View, store: Store) -> None:
    path = written(tmp_path / "cards.csv", *(f"twice,{number},{number},0,AT" for number in range(40)))
    assert features_load.load(path, view, settings(store)) == 40
    assert found(view, store, "twice")[0]["visits"] == [39]


@pytest.mark.parametrize(
    ("head", "line", "part"),
    [
        ("card_id,mean,visits,stolen", "c,1,2,0", "lacks the columns country"),
        ("", "", "lacks the columns card_id, visits, mean, country, stolen"),
        (HEAD + ",mean", "c,1,2,0,AT,1", "has the columns mean twice"),
        (HEAD, "c,1,2,0", "row 2: it has 4 fields, the head 5"),
        (HEAD, "c,1,2,0,A,T", "row 2: it has 6 fields, the head 5"),
        (HEAD, "c,one,2,0,AT", "row 2: could not convert string to float: 'one'"),
        (HEAD, "c,1e39,2,0,AT", "row 2: 1e39 is out of the range of FP32"),
        (HEAD, "c,1,2.5,0,AT", "row 2: invalid literal"),
        (HEAD, "c,1,9223372036854775808,0,AT", "out of the range of INT64"),
        (HEAD, "c,1,2,yes,AT", "'yes' is no BOOL; true, false, 1 or 0 is expected"),
        (HEAD, "k" * 1025 + ",1,2,0,AT", "at most 1024 bytes"),
        (HEAD + ",event_timestamp", "c,1,2,0,AT,yesterday", "row 2: Invalid isoformat string"),
    ],
)
def test_what_is_no_row_is_named_and_not_written(
    tmp_path: Path, view: View, redis_server: Valkey, head: str, line: str, part: str
) -> None:
    first = "first,1,2,0,AT" + ",2026-01-01" * head.endswith("timestamp") + ",1" * head.endswith("mean")
    path = written(tmp_path / "cards.csv", first, line, head=head)
    with pytest.raises(LoadError) as caught:
        features_load.load(path, view, Settings({"FEATURES_URL": redis_url(redis_server)}))
    assert part in str(caught.value)
    connection = Connection(urlsplit(redis_url(redis_server)), 30)
    assert connection.command("EXISTS", view.entity_key({"card_id": "c"}) + b"fraud") == 0
    connection.close()


def command(path: Path, server: Valkey, *more: str) -> list[str]:
    where = ["--view", "card_stats", "--model", "cards", "--url", redis_url(server)]
    return [sys.executable, "-m", "zeroserve", "features", "load", str(path), *where, *more]


@pytest.mark.skipif(not VALKEY, reason="neither valkey-server nor redis-server is installed")
def test_it_goes_on_where_it_was_killed(tmp_path: Path, repository: Path, view: View, redis_server: Valkey) -> None:
    count = 100_000
    path = written(tmp_path / "cards.csv", *(f"killed-{number},1,{number},0,AT" for number in range(count)))
    environ = {**os.environ, "MODEL_REPOSITORY": str(repository)}
    mark = features_load._mark(path, view, Settings({"FEATURES_URL": redis_url(redis_server)}))
    with subprocess.Popen(command(path, redis_server), cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + HANG
        while not mark.exists():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = int(json.loads(mark.read_text())["rows"])
    assert 0 < done < count
    again = subprocess.run(
        command(path, redis_server), cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert again.stdout.startswith(f"{count - done:,} rows in ")
    assert not mark.exists()
    keys = [f"killed-{number}" for number in (0, done - 1, done, count - 1)]
    join = Join(Settings({"FEATURES_URL": redis_url(redis_server), "FEATURES_DEADLINE_MS": LONG}))
    assert join.columns([view], {"card_id": keys}, 4)[0]["visits"] == [0, done - 1, done, count - 1]
    connection = Connection(urlsplit(redis_url(redis_server)), HANG)
    every = (view.entity_key({"card_id": f"killed-{number}"}) + b"fraud" for number in range(count))
    assert connection.command("EXISTS", *every) == count
    connection.close()


def test_a_store_that_is_away_is_told_with_the_next_step(
    tmp_path: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_load, "_PAUSE_S", 0)
    server = Valkey(str(tmp_path))
    server.stop()
    path = written(tmp_path / "cards.csv", "away,1,2,0,AT")
    with pytest.raises(LoadError, match="the same command goes on from here"):
        features_load.load(path, view, Settings({"FEATURES_URL": redis_url(server)}))
    server.start()
    assert features_load.load(path, view, Settings({"FEATURES_URL": redis_url(server)})) == 1
    server.stop()


def test_parquet_without_pyarrow_says_what_to_do(tmp_path: Path, view: View, redis_server: Valkey) -> None:
    if importlib.util.find_spec("pyarrow"):
        pytest.skip("pyarrow is here")
    path = tmp_path / "cards.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(LoadError, match="pip install pyarrow, or send CSV"):
        features_load.load(path, view, Settings({"FEATURES_URL": redis_url(redis_server)}))


PARQUET = """
import sys
sys.path.append(sys.argv[1])  # where pyarrow is; all else comes from this environment
from datetime import UTC, datetime
import pyarrow as pa
from pyarrow import parquet
columns = {
    "card_id": pa.array(["pq-1", "pq-2", "pq-3"]),
    "mean": pa.array([10.25, float("nan"), None], pa.float32()),
    "visits": pa.array([3, None, 5], pa.int64()),
    "stolen": pa.array([True, False, None]),
    "country": pa.array(["AT", None, "é"]) if sys.argv[4] == "good" else pa.array([1, 2, 3]),
    "event_timestamp": pa.array([datetime(2026, 2, 3, 4, 5, 6, 500000, UTC)] * 3),
    "more": pa.array([1, 2, 3]),
}
parquet.write_table(pa.table(columns), sys.argv[2])
sys.argv = ["load", sys.argv[2], "--view", "card_stats", "--model", "cards", "--url", sys.argv[3]]
from models.features_load import main
main()
"""


@pytest.mark.skipif(not os.environ.get("TEST_FEAST"), reason="set TEST_FEAST=1: pyarrow is in Feast's environment")
@pytest.mark.parametrize("kind", ["good", "mistyped"])
def test_parquet(kind: str, tmp_path: Path, repository: Path, view: View, redis_server: Valkey) -> None:
    (site,) = venvs.ensure("feast").parents[1].glob("lib/python*/site-packages")
    arguments = [str(site), str(tmp_path / "cards.parquet"), redis_url(redis_server), kind]
    environ = {**os.environ, "MODEL_REPOSITORY": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", PARQUET, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    if kind == "mistyped":
        assert done.returncode == 1
        assert "row 1: 'country' is 1; BYTES is expected" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 rows in ")
    client = new_client(repository, "cards", FEATURES_URL=redis_url(redis_server), FEATURES_DEADLINE_MS=LONG)
    names = ["mean", "visits", "stolen", "country"]
    body = {"entities": {"card_id": ["pq-1", "pq-2", "pq-3"]}, "features": [f"card_stats:{name}" for name in names]}
    _, *columns = client.post("/get-online-features", body).json["results"]
    values = [each["values"] for each in columns]
    assert values == [[10.25, None, None], [3, None, 5], [True, False, None], ["AT", None, "é"]]
    assert columns[0]["event_timestamps"] == ["2026-02-03T04:05:06.500Z"] * 3
