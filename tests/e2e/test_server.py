"""The plain HTTP server as a process: overload, limits while a body comes, health beside inference, SIGTERM."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bench import payloads, servers
from infra.payload import HttpResponse
from models import manifest
from tests.e2e.http_client import ask, connect, refuses_connections
from tests.e2e.raw_server import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.payloads import Payload
    from bench.peers.launch import Server

QUEUE = 16
LIMIT = 6_000_000  # bytes of a body; json-nested has about half of it
PATIENCE = 60.0  # seconds after which an answer counts as never given


@pytest.fixture
def server(digits_prepared: Path) -> Iterator[Server]:
    model = manifest.read(digits_prepared / "digits")
    with servers.zeroserve(model, {"QUEUE_SIZE": str(QUEUE), "MAX_BODY_BYTES": str(LIMIT)}) as running:
        yield running


@dataclass
class Client:
    """A request whose body is held back: `begin` sends the head and a first kilobyte, `finish` the rest."""

    url: str
    payload: Payload

    def begin(self) -> None:
        headers = {**self.payload.headers, "content-length": str(len(self.payload.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket = connect(self.url)
        self.socket.sendall(f"POST {self.payload.path} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n".encode())
        self.socket.sendall(self.payload.body[:1024])

    def send_rest(self) -> None:
        self.socket.sendall(self.payload.body[1024:])

    def answer(self) -> HttpResponse:
        with self.socket, http.client.HTTPResponse(self.socket) as response:
            response.begin()
            headers = [(name.lower(), value) for name, value in response.getheaders()]
            return HttpResponse(response.status, headers, response.read())

    def finish(self) -> HttpResponse:
        self.send_rest()
        return self.answer()


def answered(clients: Sequence[Client]) -> int:
    """How many of them have an answer waiting to be read."""
    ready, _, _ = select.select([client.socket for client in clients], [], [], 0)
    return len(ready)


def heavy_payload() -> Payload:
    """A batch of pictures as binary data: 4.8 MB, some 50 ms of a core."""
    batch = 8
    body = bytes(batch * 3 * 224 * 224 * 4)
    tensor = {"name": "input", "datatype": "FP32", "shape": [batch, 3, 224, 224]}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(body)}}]}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return payloads.Payload("binary", "/v2/models/digits/infer", headers, head + body, [])


def test_overload_is_refused_and_nothing_hangs(server: Server, payload: Payload) -> None:
    heavy = heavy_payload()
    clients = [Client(server.url, heavy) for _ in range(64)]
    for client in clients:
        client.begin()
    # A place is taken by a request that is whole: until then nobody is refused, and nobody else is kept waiting.
    payload.check(servers.ask(server.url, payload))
    assert answered(clients) == 0
    for client in clients:
        client.socket.sendall(heavy.body[1024:-1])
    payload.check(servers.ask(server.url, payload))
    for client in clients:
        client.socket.sendall(heavy.body[-1:])
    with ThreadPoolExecutor(len(clients)) as threads:
        answers = list(threads.map(Client.answer, clients))
    assert {answer.status for answer in answers} == {200, 503}
    assert len([answer for answer in answers if answer.status == 200]) >= QUEUE
    for answer in answers:
        if answer.status == 503:
            headers = dict(answer.headers)
            assert int(headers["retry-after"]) >= 1
            assert headers["content-type"] == "application/json"
            assert set(json.loads(answer.body)) == {"error"}
    payload.check(servers.ask(server.url, payload))
    assert ask(server.url, "GET", "/v2/health/ready").status == 200


def test_a_crowd_gets_200_or_503(server: Server, payload: Payload) -> None:
    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(lambda _: servers.ask(server.url, payload), range(128)))
    assert {answer.status for answer in answers} <= {200, 503}
    right = [answer for answer in answers if answer.status == 200]
    assert len(right) >= QUEUE
    for answer in right:
        payload.check(answer)
    payload.check(servers.ask(server.url, payload))


def test_clients_that_hang_up_take_no_places(server: Server, payload: Payload) -> None:
    gone = [Client(server.url, payload) for _ in range(QUEUE + 8)]
    for client in gone:
        client.begin()
    for client in gone:
        client.socket.close()
    clients = [Client(server.url, payload) for _ in range(QUEUE)]
    for client in clients:
        client.begin()
    assert [client.finish().status for client in clients] == [200] * QUEUE


def test_sigterm_under_load_answers_what_was_accepted(server: Server, payload: Payload) -> None:
    slow, fast = ([Client(server.url, payload) for _ in range(count)] for count in (4, 8))
    for client in (*slow, *fast):
        client.begin()
    with ThreadPoolExecutor(len(fast)) as threads:
        list(threads.map(Client.send_rest, fast))  # decoded, queued or run when the signal comes
    os.kill(server.pid, signal.SIGTERM)
    wait_until(lambda: refuses_connections(server.url), "no new connection is accepted")
    # The rest of the slow ones comes when the server has long begun to stop.
    for answer in (*(client.finish() for client in slow), *(client.answer() for client in fast)):
        payload.check(answer)
    wait_until(lambda: ended(server.pid), "the process ends")


def ended(pid: int) -> bool:
    """The process is gone, or a zombie that its parent has still to look at (proc(5), /proc/pid/stat)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("declared", [True, False], ids=["content-length", "chunked"])
def test_a_body_too_long_is_refused_before_it_has_come(server: Server, declared: bool) -> None:
    with connect(server.url) as connection:
        head = b"POST /v1/models/digits/infer HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        if declared:
            connection.sendall(head + f"content-length: {LIMIT + 1}\r\n\r\n".encode())
        else:
            connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
            size = LIMIT // 4
            for _ in range(5):  # more than the limit, and no end
                connection.sendall(f"{size:x}\r\n".encode() + b" " * size + b"\r\n")
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            assert response.status == 413
            assert str(LIMIT) in json.loads(response.read())["error"]
    assert ask(server.url, "GET", "/v2/health/ready").status == 200


def test_a_connection_serves_one_request_after_another(server: Server, payload: Payload) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("POST", payload.path, payload.body, dict(payload.headers))
        response = connection.getresponse()
        payload.check(HttpResponse(response.status, response.getheaders(), response.read()))
        assert connection.sock is first
    connection.close()


def test_health_does_not_wait_behind_inference(server: Server) -> None:
    heavy = heavy_payload()
    clients = [Client(server.url, heavy) for _ in range(QUEUE)]
    for client in clients:
        client.begin()
    for client in clients:
        client.send_rest()
    seen: list[int] = []  # how many inferences had been answered when health was
    while not seen or seen[-1] < QUEUE:
        assert ask(server.url, "GET", "/v2/health/live").status == 200
        seen.append(answered(clients))
    assert [client.answer().status for client in clients] == [200] * QUEUE
    # Not behind the queue: health was answered often while inferences were still to be done.
    assert len([count for count in seen if count < QUEUE]) >= 8, seen
