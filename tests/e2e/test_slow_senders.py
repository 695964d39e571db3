"""Senders that take their time or their memory keep nobody else from being served, and are told so in the end."""

from __future__ import annotations

import select
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import servers
from function.native import cpu
from tests.e2e.http_client import ask
from tests.e2e.raw_server import PATIENCE, RawServer, check_refusal, post, read_answer, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.payloads import Payload

LARGE = 2_000_000  # bytes that are declared
DECLARED = {
    "small": (post(b"", declared=1_000), 80),
    "large": (post(b"", declared=LARGE), 40),
    "large, begun": (post(b"x" * 100_000, declared=LARGE), 40),
}


@pytest.fixture(scope="module")
def server(digits_prepared: Path) -> Iterator[RawServer]:
    with running(digits_prepared) as server:
        yield server


def answered(connections: Sequence[socket.socket]) -> int:
    """How many have an answer to be read, or have been closed."""
    ready, _, _ = select.select(connections, [], [], 0)
    return len(ready)


@pytest.mark.parametrize("kind", DECLARED)
def test_others_are_served_meanwhile(server: RawServer, payload: Payload, picture: bytes, kind: str) -> None:
    sent, count = DECLARED[kind]
    slow = [server.sends(sent) for _ in range(count)]
    # Nobody waits until the slow ones are given up: their connections are open still.
    assert [ask(server.url, "POST", "/classify", picture).status for _ in range(5)] == [200] * 5
    payload.check(servers.ask(server.url, payload))
    assert answered(slow) == 0
    for connection in slow:
        connection.close()


def test_a_slow_one_that_becomes_whole_is_answered(server: RawServer, payload: Payload) -> None:
    head = post(b"", *(f"{name}: {value}" for name, value in payload.headers.items()), path=payload.path)
    sent = head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(payload.body)) + payload.body
    slow = [server.sends(sent[:200_000]) for _ in range(12)]
    payload.check(servers.ask(server.url, payload))  # they have lost their turns by now, or will
    for position in range(200_000, len(sent), 400_000):
        for connection in slow:
            connection.sendall(sent[position : position + 400_000])
    for connection in slow:
        with connection:
            assert read_answer(connection).status == 200


def test_a_drip_is_refused_by_its_rate(digits_prepared: Path) -> None:
    shortened = "from function.server import intake\nintake.GRACE_S, intake.MIN_BYTES_PER_S = 0.5, 100_000"
    with running(digits_prepared, shortened) as server:
        for begun in (b"x" * 100, b"x" * 100_000):
            with server.sends(post(begun, declared=LARGE)) as connection:
                while not answered([connection]):
                    connection.sendall(b"x")
                    time.sleep(0.02)
                check_refusal(read_answer(connection), 408, "a second; send it faster")
        assert server.refused("slow") == 2


def test_the_slowest_go_when_bodies_take_too_much_memory(digits_prepared: Path, picture: bytes) -> None:
    settings = {"MEMORY_LIMIT_BYTES": str(256 << 20), "MAX_BODY_BYTES": str(4 << 20)}  # an eighth: 32 MiB of bodies
    with running(digits_prepared, settings=settings) as server:
        slow = [server.sends(post(b"x" * (LARGE - 1), declared=LARGE)) for _ in range(24)]
        wait_until(lambda: answered(slow) > 0, "some are refused")
        assert ask(server.url, "POST", "/classify", picture).status == 200
        ready, _, _ = select.select(slow, [], [], 0)
        for connection in ready:
            answer = read_answer(connection)
            check_refusal(answer, 503, "came slowest")
            assert int(answer.headers["retry-after"]) >= 1
        assert server.refused("memory") >= len(ready) > 0
        assert len(ready) < len(slow)
        for connection in slow:
            connection.close()


GATED = """
import os
import time
from function.app import App
from function.server import work
work.QUEUE_S = float(os.environ["QUEUE_SECONDS"])
respond = App.respond
def gated(self, exchange):
    if exchange.request.method == "POST":
        with open(os.environ["BEGUN"], "a") as file:
            print(exchange.request.headers["x-request-id"], file=file)
        while not os.path.exists(os.environ["GATE"]):
            time.sleep(0.01)
    return respond(self, exchange)
App.respond = gated
"""


class Gated:
    """A server whose requests are begun, but answered only when the gate is open."""

    def __init__(self, folder: Path, queue_seconds: float) -> None:
        self.begun, self.gate = folder / "begun", folder / "gate"
        self.settings = {
            "BEGUN": str(self.begun),
            "GATE": str(self.gate),
            "QUEUE_SECONDS": str(queue_seconds),
            "QUEUE_SIZE": "8",
        }

    def ids(self) -> list[str]:
        return self.begun.read_text().split() if self.begun.exists() else []

    def occupy(self, server: RawServer, picture: bytes) -> list[socket.socket]:
        """As many requests as there are threads, all of them begun."""
        threads = cpu.count(0)
        busy = [server.sends(post(picture, f"X-Request-Id: busy-{number}")) for number in range(threads)]
        wait_until(lambda: len(self.ids()) == threads, "all threads are busy")
        return busy


def test_a_client_that_leaves_in_the_queue_is_not_worked_for(
    digits_prepared: Path, tmp_path: Path, picture: bytes
) -> None:
    gated = Gated(tmp_path, PATIENCE)
    with running(digits_prepared, GATED, gated.settings) as server:
        busy = gated.occupy(server, picture)
        leaving = server.sends(post(picture, "X-Request-Id: leaving"))
        staying = server.sends(post(picture, "X-Request-Id: staying"))
        assert ask(server.url, "GET", "/health").status == 200  # what came before has been read now
        # With nothing lingering, a close is a reset: the server knows that nobody is there any more.
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaving.close()
        wait_until(lambda: server.refused("disconnected") == 1, "the server knows that the client has left")
        gated.gate.touch()
        for connection in (*busy, staying):
            with connection:
                assert read_answer(connection).status == 200
    assert "staying" in gated.ids()
    assert "leaving" not in gated.ids()


def test_the_queue_has_a_deadline_and_an_end(digits_prepared: Path, tmp_path: Path, picture: bytes) -> None:
    gated = Gated(tmp_path, 1.0)
    with running(digits_prepared, GATED, gated.settings) as server:
        busy = gated.occupy(server, picture)
        waiting = [server.sends(post(picture, f"X-Request-Id: waiting-{number}")) for number in range(30)]
        answers = [read_answer(connection) for connection in waiting]
        assert {answer.status for answer in answers} == {503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert server.refused("queue") > 0
        assert server.refused("deadline") > 0
        gated.gate.touch()
        assert [read_answer(connection).status for connection in busy] == [200] * len(busy)
        assert not [name for name in gated.ids() if name.startswith("waiting")]
        for connection in (*busy, *waiting):
            connection.close()


def test_a_process_with_a_memory_limit_has_one_for_its_data(digits_prepared: Path, payload: Payload) -> None:
    with running(digits_prepared, settings={"MEMORY_LIMIT_BYTES": str(256 << 20)}) as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
        (data,) = [line.split() for line in limits if line.startswith("Max data size")]
        assert int(data[3]) == (256 << 20) // 8 * 7
        payload.check(servers.ask(server.url, payload))
