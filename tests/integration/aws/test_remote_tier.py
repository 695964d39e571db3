"""The result cache's second tier: DynamoDB, Valkey or Redis; absent, slow, stopped in mid-run."""

from __future__ import annotations

import json
import socket
import ssl
import statistics
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from function.cache import remote_tier
from function.cache.remote_tier import FAILURE_THRESHOLD, LARGEST, TIMEOUT_S, RemoteTier
from function.errors import PredictError
from function.settings import Settings
from tests.contract.client import Client, new_client
from tests.integration.aws.servers import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.answer import Answer

V2 = "/v2/models/digits/infer"


def body(number: int) -> bytes:
    """A request that no other number has."""
    data = [number / 1000] * (3 * 224 * 224)
    return json.dumps(
        {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": data}]}
    ).encode()


@pytest.fixture
def table(client: Callable[[str], Any]) -> Iterator[str]:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="answers",
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield "answers"
    dynamodb.delete_table(TableName="answers")


def cached(digits_prepared: Path, variables: dict[str, str], url: str) -> Client:
    return new_client(digits_prepared, **variables, RESULT_CACHE_URL=url)


def caches(capsys: pytest.CaptureFixture[str]) -> list[str | None]:
    """What the log says of the cache, line by line."""
    return [json.loads(line).get("cache") for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is stored, not of how long that may take: the machine may be busy."""
    monkeypatch.setattr(remote_tier, "TIMEOUT_S", 5.0)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.usefixtures("patient")
def test_dynamodb_shares_answers_between_processes(
    digits_prepared: Path,
    variables: dict[str, str],
    table: str,
    client: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = (cached(digits_prepared, variables, f"dynamodb://{table}") for _ in range(2))
    assert first.post(V2, body(1)).body == second.post(V2, body(1)).body
    assert caches(capsys) == ["miss", "shared"]
    (item,) = client("dynamodb").scan(TableName=table)["Items"]
    assert set(item) == {"key", "entry", "expires"}
    assert 86_000 < float(item["expires"]["N"]) - time.time() <= 86_400
    # What has expired may still be there for days.
    item["expires"]["N"] = str(int(time.time()) - 1)
    client("dynamodb").put_item(TableName=table, Item=item)
    assert cached(digits_prepared, variables, f"dynamodb://{table}").post(V2, body(1)).status == 200
    assert caches(capsys) == ["miss"]


@pytest.mark.usefixtures("patient")
def test_valkey_shares_answers_between_processes(
    digits_prepared: Path, variables: dict[str, str], valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"valkey://127.0.0.1:{valkey.port}"
    memory = variables | {"RESULT_CACHE_BYTES": "100000"}
    first, second = (cached(digits_prepared, memory, url) for _ in range(2))
    answers = [each.post(V2, body(2)).body for each in (first, second, second)]
    assert answers == [answers[0]] * 3
    assert caches(capsys) == ["miss", "shared", "memory"]


@pytest.mark.usefixtures("patient")
def test_a_hit_needs_no_model(
    digits_prepared: Path, variables: dict[str, str], valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cold start that finds its answer in the second tier does not load ONNX Runtime."""
    url = f"redis://127.0.0.1:{valkey.port}/1"
    cached(digits_prepared, variables, url).post(V2, body(3))
    capsys.readouterr()
    answer = cached(digits_prepared, variables, url).post(V2, body(3))
    assert answer.status == 200
    assert set(answer.phases) == {"init", "cache", "cold"}
    assert caches(capsys) == ["shared"]


JSON = b'"Content-Type": "application/json"'
FORGED = {
    "nothing": b"",
    "no headers": b"{}\n{}",
    "no object": b"[1]\n{}",
    "not JSON": b"\xff\xfe\n{}",
    "nested": b"[" * 100_000 + b"\n{}",
    "a number": b'{"Content-Type": 1}\n{}',
    "a list": b'{"Content-Type": ["application/json"]}\n{}',
    "a page": b'{"Content-Type": "text/html"}\n<script>alert(1)</script>',
    "line ends": b'{"Content-Type": "application/json\\r\\nSet-Cookie: a=b"}\n{}',
    "not Latin-1": b'{"Content-Type": "application/json", "Inference-Header-Content-Length": "\\u0663"}\n{}',
    "a surrogate": b'{"Content-Type": "application/json\\ud800"}\n{}',
    "another header": b"{" + JSON + b', "Set-Cookie": "a=b"}\n{}',
    "a name with a line end": b"{" + JSON + b', "X\\r\\nY": "a"}\n{}',
    "a length that is a number": b"{" + JSON + b', "Inference-Header-Content-Length": 2}\n{}',
    "a length below zero": b"{" + JSON + b', "Inference-Header-Content-Length": "-1"}\n{}',
    "a length beyond the body": b"{" + JSON + b', "Inference-Header-Content-Length": "3"}\n{}',
    "endless headers": b"{" + JSON + b', "Inference-Header-Content-Length": "' + b"0" * 300_000 + b'"}\n{}',
}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_an_entry_that_others_wrote_is_a_miss(
    digits_prepared: Path,
    variables: dict[str, str],
    valkey: Valkey,
    forged: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither served nor a failure; the right answer is worked out and takes its place."""
    url = f"valkey://127.0.0.1:{valkey.port}"
    right = cached(digits_prepared, variables, url).post(V2, body(9))
    assert right.status == 200
    with socket.create_connection(("127.0.0.1", valkey.port)) as raw:
        raw.sendall(b"KEYS *\r\n")
        key = raw.recv(1000).split(b"\r\n")[2]
        raw.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(forged), forged))
        assert raw.recv(1000) == b"+OK\r\n"
    capsys.readouterr()
    both = variables | {"RESULT_CACHE_BYTES": "100000"}
    answers = [cached(digits_prepared, both, url).post(V2, body(9)) for _ in range(2)]
    assert [(each.status, each.body) for each in answers] == [(200, right.body)] * 2
    assert {each.headers["content-type"] for each in answers} == {"application/json"}
    assert caches(capsys) == ["miss", "shared"]


@pytest.mark.usefixtures("patient")
def test_a_password_and_tls(tmp_path: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *names], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    secure = ["--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", "s:cr/t"]
    server = Valkey(str(tmp_path), *files, *secure)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    try:
        for url in (f"rediss://:s%3Acr%2Ft@localhost:{port}", f"valkeys://default:s%3Acr%2Ft@localhost:{port}/2"):
            tier = RemoteTier(Settings({"RESULT_CACHE_URL": url}))
            tier.put("key", b"entry")
            assert tier.get("key") == b"entry"
            assert tier.get("another") is None
        stranger = RemoteTier(Settings({"RESULT_CACHE_URL": f"rediss://localhost:{port}"}))
        assert stranger.get("key") is None
        # A certificate that nobody vouches for is refused.
        monkeypatch.delenv("SSL_CERT_FILE")
        context = ssl.create_default_context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert RemoteTier(Settings({"RESULT_CACHE_URL": url})).get("key") is None
    finally:
        server.stop()


@pytest.mark.usefixtures("patient")
def test_entries_have_an_end_and_a_size(valkey: Valkey) -> None:
    tier = RemoteTier(Settings({"RESULT_CACHE_URL": f"valkey://127.0.0.1:{valkey.port}"}))
    tier.put("small", b"x" * LARGEST)
    tier.put("large", b"x" * (LARGEST + 1))
    assert tier.get("small") == b"x" * LARGEST
    assert tier.get("large") is None
    with socket.create_connection(("127.0.0.1", valkey.port)) as raw:
        raw.sendall(b"TTL zeroserve:small\r\n")
        assert 86_000 < int(raw.recv(100)[1:]) <= 86_400


def test_stopped_in_mid_run_and_back(
    digits_prepared: Path,
    variables: dict[str, str],
    valkey: Valkey,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No request fails, none waits longer than two bounds, and the tier is used again once it has rested."""
    monkeypatch.setattr(remote_tier, "COOLDOWN_S", 0.5)
    monkeypatch.setattr(remote_tier, "TIMEOUT_S", 5.0)  # while it is up: the machine may be busy
    function = cached(digits_prepared, variables, f"valkey://127.0.0.1:{valkey.port}")
    function.post(V2, body(0))

    def ask(number: int) -> tuple[Answer, float]:
        started = time.perf_counter()
        answer = function.post(V2, body(number))
        phases = answer.phases
        return answer, (time.perf_counter() - started) * 1000 - sum(phases.get(name, 0) for name in ("decode", "infer"))

    up = [ask(number) for number in range(5)]
    assert {answer.status for answer, _ in up} == {200}
    assert caches(capsys) == ["miss", "shared", "miss", "miss", "miss", "miss"]
    valkey.stop()
    monkeypatch.setattr(remote_tier, "TIMEOUT_S", TIMEOUT_S)
    down = [ask(number) for number in range(20)]
    assert {answer.status for answer, _ in down} == {200}
    assert set(caches(capsys)) == {"miss"}
    valkey.start()
    monkeypatch.setattr(remote_tier, "TIMEOUT_S", 5.0)
    time.sleep(0.6)
    assert ask(100)[0].status == 200
    assert ask(100)[0].status == 200
    assert caches(capsys) == ["miss", "shared"]
    usual = statistics.median(added for _, added in up)  # what this machine adds today, with the tier in order
    assert statistics.median(added for _, added in down) < usual + 2 * TIMEOUT_S * 1000


def test_a_silent_server_costs_one_bound_and_then_nothing(silent: int, capsys: pytest.CaptureFixture[str]) -> None:
    tier = RemoteTier(Settings({"RESULT_CACHE_URL": f"valkey://127.0.0.1:{silent}"}))
    times = []
    for _ in range(FAILURE_THRESHOLD + 20):
        started = time.perf_counter()
        assert tier.get("key") is None
        times.append(time.perf_counter() - started)
    assert all(taken >= TIMEOUT_S * 0.9 for taken in times[:FAILURE_THRESHOLD])
    assert max(times[FAILURE_THRESHOLD:]) < TIMEOUT_S / 2
    assert capsys.readouterr().err.count("second tier rests for 10 s") == 1


def test_a_server_that_dribbles_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time for the socket, all of them together do not."""
    stop = threading.Event()

    def dribble(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            for _ in range(100):
                if stop.wait(TIMEOUT_S / 2):
                    return
                connection.sendall(b"$")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=dribble, args=(listening,))
        thread.start()
        tier = RemoteTier(Settings({"RESULT_CACHE_URL": f"valkey://127.0.0.1:{listening.getsockname()[1]}"}))
        started = time.perf_counter()
        assert tier.get("key") is None
        assert TIMEOUT_S * 0.9 <= time.perf_counter() - started < 5 * TIMEOUT_S
        stop.set()
        thread.join()


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_the_rest_does_not_follow_the_wall_clock(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set in either direction neither ends the tier's rest nor makes it last."""
    wall, monotonic, passed = time.time, time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])
    monkeypatch.setattr(remote_tier, "TIMEOUT_S", 5.0)
    asked: list[str] = []

    class Broken:
        def get(self, key: str) -> bytes | None:
            asked.append(key)
            raise ConnectionRefusedError

        put = None

    monkeypatch.setattr(remote_tier, "_store", lambda _settings: Broken())
    tier = RemoteTier(Settings({}))
    for _ in range(FAILURE_THRESHOLD):
        tier.get("key")
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    tier.get("key")
    assert len(asked) == FAILURE_THRESHOLD  # it rests
    passed[0] = remote_tier.COOLDOWN_S + 1
    tier.get("key")
    assert len(asked) == FAILURE_THRESHOLD + 1


@pytest.mark.parametrize("url", ["dynamodb://", "memcached://host:1", "redis://", "host:6379"])
def test_a_url_that_names_no_tier(url: str) -> None:
    with pytest.raises(PredictError, match="RESULT_CACHE_URL is"):
        RemoteTier(Settings({"RESULT_CACHE_URL": url}))


def test_a_table_that_is_not_there_fails_no_request(
    digits_prepared: Path, variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    function = cached(digits_prepared, variables, "dynamodb://no-such-table")
    assert [function.post(V2, body(7)).status for _ in range(4)] == [200] * 4
    assert set(caches(capsys)) == {"miss"}
