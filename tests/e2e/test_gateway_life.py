"""Callers of the gateway that leave or read slowly, many of them, and the end of a server that streams to them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from infra import processes
from models import manifest, prepare
from tests.e2e.gateway_entries import CHAT, KEY, environment, serving, together, write_models
from tests.e2e.gateway_entries import Lambda as Function
from tests.e2e.http_client import ask, refuses_connections
from tests.e2e.raw_server import PATIENCE, wait_until
from tests.e2e.test_gateway import WHOLE, asks, raw_request, read_until
from tests.upstream import DONE, TALK, USAGE, Answer, Upstream, chunk, completion, upstream, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 500
END = b"0\r\n\r\n"  # of a body in chunks


@pytest.fixture
def there() -> Iterator[Upstream]:
    with upstream() as made:
        yield made


@pytest.fixture
def repository(there: Upstream, tmp_path: Path) -> Path:
    return write_models(tmp_path / "models", there.port, processes.free_port())


def to_its_end(connection: Any) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize("waits_at", [-1, 0, 2], ids=["before the head", "before a token", "in the stream"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_the_upstream_learns_that_the_client_is_gone(
    there: Upstream, repository: Path, waits_at: int, reset: bool
) -> None:
    there.answer = lambda _seen: Answer(list(TALK), waits_at=waits_at)
    with serving(repository) as server:
        connection = server.raw.connect()
        connection.sendall(raw_request(asks("chat")))
        wait_until(lambda: len(there.seen) == 1, "the upstream is asked")
        if waits_at > 0:
            read_until(connection, TALK[waits_at - 1])
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        assert there.seen[0].gone.wait(PATIENCE)
        assert server.post(asks("chat", stream=False) | {"model": "down"}).status == 503  # it lives


def test_a_function_that_is_given_up_ends_the_call(there: Upstream, repository: Path) -> None:
    there.answer = lambda _seen: Answer(list(TALK), waits_at=1)
    with environment():
        exchange = Function(repository).exchange(asks("one"))
    chunks: Any = exchange.response.chunks
    assert next(chunks) == TALK[0]
    chunks.close()
    assert there.seen[0].gone.wait(PATIENCE)
    assert exchange.upstream is not None
    assert exchange.upstream.failures == ["client"]


def test_a_slow_reader_holds_little(there: Upstream, repository: Path) -> None:
    piece = chunk("x" * 65536)
    there.answer = lambda _seen: Answer([piece] * 1600)  # 100 MB
    with serving(repository) as server, server.raw.connect() as connection:
        server.post(asks("down"))  # all that is imported is
        before = server.raw.resident_mb()
        connection.sendall(raw_request(asks("chat")))
        read_until(connection, piece[:100])
        sent = -1

        def stands_still() -> bool:
            nonlocal sent
            last, sent = sent, there.sent
            return last == sent

        wait_until(stands_still, "the upstream is kept from sending")
        assert there.sent < 32 << 20  # what the kernel's buffers on the way take
        size, most, tail = 0, 0.0, b""
        while not tail.endswith(END):
            got = connection.recv(1 << 20)
            assert got, f"the stream ended after {size} bytes"
            if (size + len(got)) >> 23 != size >> 23:
                most = max(most, server.raw.resident_mb())
            size, tail = size + len(got), (tail + got)[-len(END) :]
        assert size > 1500 * len(piece)
        assert max(most, server.raw.resident_mb()) < before + 8


def test_many_streams_take_neither_threads_nor_places(there: Upstream, repository: Path, digits_prepared: Path) -> None:
    (repository / "digits").symlink_to(digits_prepared / "digits")
    there.answer = lambda _seen: Answer(list(TALK), waits_at=1)
    with serving(repository, settings={"QUEUE_SIZE": "0", "MODEL_NAME": "digits"}) as server, ExitStack() as stack:
        connections = [stack.enter_context(server.raw.connect()) for _ in range(50)]
        for connection in connections:
            connection.sendall(raw_request(asks("chat")))
        for connection in connections:
            read_until(connection, TALK[0])
        plane = [[0.5] * 224] * 224
        tensor = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": [[plane] * 3]}]}
        assert server.post(tensor, "/v2/models/digits/infer").status == 200
        refused = server.post(asks("digits"))
        assert refused.status == 400
        assert "no language model" in json.loads(refused.body)["error"]
        there.gate.set()
        for connection in connections:
            assert DONE in read_until(connection, END)


@pytest.mark.parametrize("whole", [True, False], ids=["in time", "at the deadline"])
def test_a_server_that_ends_leaves_no_stream_half(there: Upstream, repository: Path, whole: bool) -> None:
    there.answer = lambda _seen: Answer(list(TALK), waits_at=2)
    short = "from function.server import serving\nserving.DRAIN_S = 0.1\nserving.GRACE_S = %s"
    with serving(repository, short % (PATIENCE if whole else 0.1)) as server, ExitStack() as stack:
        connections = [stack.enter_context(server.raw.connect()) for _ in range(MANY)]
        for connection in connections:
            connection.sendall(raw_request(asks("chat")))
        begun = [read_until(connection, TALK[1]) for connection in connections]
        server.raw.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(server.raw.url), "the server has stopped to listen")
        if whole:
            there.gate.set()
        for connection, before in zip(connections, begun, strict=True):
            answer = before + to_its_end(connection)
            assert answer.endswith(END)
            assert (DONE in answer) is whole
            assert (b'"code":"ending"' in answer) is not whole
        assert server.raw.process.wait(PATIENCE) == 0


def test_http_1_0_and_requests_that_come_at_once(there: Upstream, repository: Path) -> None:
    with serving(repository) as server:
        with server.raw.connect() as old:
            old.sendall(raw_request(asks("chat"), "1.0"))
            head, _, body = to_its_end(old).partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head
            assert body == WHOLE
        with server.raw.connect() as connection:
            connection.sendall(raw_request(asks("chat")) + raw_request(asks("down")) + raw_request(asks("chat")))
            found = read_until(connection, END)
            while found.count(END) < 2:
                found += read_until(connection, END)
            assert found.count(b"HTTP/1.1 200") == 2
            assert found.count(b"HTTP/1.1 503") == 1


def test_what_the_log_and_the_metrics_tell(there: Upstream, repository: Path) -> None:
    there.answer = lambda _seen: Answer([chunk("secret answer"), USAGE, DONE])
    with serving(repository) as server:
        server.post(asks("keyed", user="secret prompt"))
        server.post(asks("down", user="secret prompt"))
        wait_until(lambda: server.raw.words().count(CHAT) == 2, "both are in the log")
        words = server.raw.words()
        assert "secret" not in words
        assert KEY not in words
        first, second = (json.loads(line) for line in words.splitlines() if CHAT in line)
        assert first["upstream"] == {"target": "keyed", "attempts": 1, "prompt_tokens": 7, "completion_tokens": 3}
        assert first["bytes_out"] == len(chunk("secret answer") + USAGE + DONE)
        assert first["upstream_ms"] <= first["duration_ms"]
        assert second["upstream"] == {"attempts": 2, "failures": ["connect", "connect"]}
        metrics = ask(server.raw.url, "GET", "/metrics").body.decode()
    for line in (
        'zeroserve_upstream_tokens_total{model_name="keyed",kind="prompt"} 7',
        'zeroserve_upstream_tokens_total{model_name="keyed",kind="completion"} 3',
        'zeroserve_upstream_failures_total{model_name="down",kind="connect"} 2',
        'zeroserve_upstream_first_token_seconds_count{model_name="keyed"} 1',
    ):
        assert line in metrics


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for localhost, in one file."""
    path = tmp_path / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    path.write_text(path.read_text() + (tmp_path / "localhost.pem.crt").read_text())
    return path


def test_tls(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with upstream(context) as there:
        folder = write_folder(tmp_path / "models" / "chat", there.port, tls=True, retries=0)
        prepare.prepare(manifest.read(folder))
        with serving(folder.parent) as server:
            answer = server.post(asks("chat"))
            assert answer.status == 503  # nobody vouches for the certificate
            assert "certificate" in json.loads(answer.body)["error"]
        with serving(folder.parent, settings={"SSL_CERT_FILE": str(certificate)}) as server:
            bodies = together(20, lambda _: server.post(asks("chat")).body)
            assert bodies == [WHOLE] * 20
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert Function(folder.parent).post(asks("chat")).body == WHOLE


@pytest.mark.parametrize("entry", ["server", "lambda"])
def test_answers_at_temperature_0_are_stored_where_that_is_wanted(there: Upstream, tmp_path: Path, entry: str) -> None:
    repository = write_models(tmp_path / "models", there.port, processes.free_port())
    prepare.prepare(manifest.read(write_folder(repository / "stored", there.port, cache=True)))
    settings = {"RESULT_CACHE_BYTES": "1000000"}
    with ExitStack() as stack:
        stack.enter_context(environment())
        if entry == "server":
            asked: Any = stack.enter_context(serving(repository, settings=settings))
        else:
            asked = Function(repository, **settings)
        same = asks("stored", stream=False, temperature=0)
        assert asked.post(same).body == asked.post(same).body == completion("Hello")
        assert len(there.seen) == 1
        for other in (
            asks("stored", stream=False, temperature=0, seed=1),
            asks("stored", stream=False),
            asks("stored", stream=False, temperature=1),
            asks("stored", temperature=0),
            asks("chat", stream=False, temperature=0),
        ):
            before = len(there.seen)
            assert asked.post(other).body == asked.post(other).body
            stored = other.get("temperature") == 0 and "seed" in other
            assert len(there.seen) == before + (1 if stored else 2)
