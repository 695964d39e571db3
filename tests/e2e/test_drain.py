"""The end of a server: nothing that was accepted is lost, no client sees a reset, the status is 0."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.e2e.http_client import refuses_connections
from tests.e2e.raw_server import PATIENCE, RawServer, post, read_answer, running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

PATIENT = "from function.server import serving\nserving.DRAIN_S = 60.0"  # on a slow machine a second is soon over
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client(threading.Thread):
    """Asks on one kept connection, again and again, until an answer says that it was the last one."""

    def __init__(self, server: RawServer, request: bytes) -> None:
        super().__init__()
        self.server, self.request = server, request
        self.answers = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self.server.connect() as connection:
                while True:
                    connection.sendall(self.request)
                    answer = read_answer(connection)
                    assert answer.status == 200
                    self.answers += 1
                    if answer.headers.get("connection") == "close":
                        assert connection.recv(1) == b""
                        return
        except Exception as error:  # noqa: BLE001  (told in the test's own thread)
            self.failure = error


def test_clients_in_the_middle_of_it_see_no_reset(digits_prepared: Path, picture: bytes) -> None:
    with running(digits_prepared, PATIENT) as server:
        clients = [Client(server, post(picture)) for _ in range(12)] + [Client(server, GET) for _ in range(12)]
        for client in clients:
            client.start()
        wait_until(lambda: all(client.answers >= 3 for client in clients), "all are being served")
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(PATIENCE)
        assert [client.failure for client in clients] == [None] * len(clients)
        assert server.process.wait(PATIENCE) == 0


def test_a_kept_connection_may_ask_once_more_and_new_ones_are_taken(digits_prepared: Path) -> None:
    with running(digits_prepared, PATIENT) as server, server.connect() as kept:
        kept.sendall(GET)
        assert "connection" not in read_answer(kept).headers
        server.process.send_signal(signal.SIGTERM)
        # From some moment on each answer is the last; until then, and for a while longer, all are answered.
        with server.connect() as new:
            new.sendall(GET)
            assert read_answer(new).status == 200
            assert server.process.poll() is None
        kept.sendall(GET)
        assert read_answer(kept).status == 200
        kept.close()
        wait_until(lambda: refuses_connections(server.url), "the server has stopped to listen")
        assert server.process.wait(PATIENCE) == 0


def test_an_idle_server_ends_at_once_with_status_0(digits_prepared: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with running(digits_prepared) as server:
            server.process.send_signal(number)
            assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(digits_prepared: Path, number: int) -> None:
    with running(digits_prepared) as server, server.sends(post(b"x", declared=1_000)) as unfinished:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(server.url), "the server has stopped to listen")
        assert server.process.poll() is None  # it waits for the body
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == 128 + number
        with contextlib.suppress(ConnectionError):
            unfinished.shutdown(socket.SHUT_WR)


def test_a_body_that_is_still_coming_is_waited_for(digits_prepared: Path, picture: bytes) -> None:
    request = post(picture)
    with running(digits_prepared) as server, server.sends(request[:-1]) as unfinished:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(server.url), "the server has stopped to listen")
        unfinished.sendall(request[-1:])
        answer = read_answer(unfinished)
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert server.process.wait(PATIENCE) == 0
