"""The server in 512 MB of memory, under the worst bodies of every kind, eight at a time, while honest clients ask.

Kinds of one sort go on for some seconds, and at least until each of the eight senders has been answered once; then all
kinds together. HOSTILE_LONG=1 makes these seconds more, and has each text in each size by itself too.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.hostile import bodies, memory_limit, seeds, server_process
from tests.hostile.bodies import Body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.hostile.server_process import ServerProcess

MEMORY = 512 * 1024 * 1024
AT_A_TIME = 8
LONG = bool(os.environ.get("HOSTILE_LONG"))
KIND_SECONDS, MIXED_SECONDS = (12, 60) if LONG else (2, 8)
EVERY = 0.2  # seconds between an honest client's requests
PATIENCE = 120.0  # a hang: of an attacker, whose 66 MB may wait for their turn
HONEST_PATIENCE = 60.0
BUSY_SHARE = 0.1  # of the honest requests may be told to come back, 503 with Retry-After
REFUSALS = {0, 400, 408, 413, 415, 429, 431, 503}  # 0: the server closed while the body was still being sent


def post(port: int, sent: Body, patience: float) -> tuple[int, dict[str, str]]:
    """Status and headers (names in lower case); 0 when the connection ends while the body is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.connect()
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it had all come: the answer may be there
            connection.request("POST", sent.path, sent.body, sent.headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    except (ConnectionError, http.client.HTTPException):
        return 0, {}
    finally:
        connection.close()


@dataclass
class Honest:
    """An ordinary client that asks again and again."""

    sent: Body
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0

    def ask_until(self, port: int, stop: threading.Event) -> None:
        while not stop.is_set():
            started = time.monotonic()
            try:
                status, headers = post(port, self.sent, HONEST_PATIENCE)
            except OSError as error:
                status, headers = -1, {}
                self.wrong.append(f"no answer: {error!r}")
            self.longest = max(self.longest, time.monotonic() - started)
            self.statuses[status] += 1
            if status == 503 and "retry-after" not in headers:
                self.wrong.append("a 503 without Retry-After")
            stop.wait(EVERY)

    def check(self) -> None:
        assert not self.wrong, self.wrong[:5]
        assert set(self.statuses) <= {200, 503}, self.statuses
        assert self.statuses[200] >= 1, self.statuses
        assert self.statuses[503] <= max(1, BUSY_SHARE * self.statuses.total()), self.statuses


def attack(server: ServerProcess, made: Sequence[Body], seconds: float) -> tuple[Counter[int], list[Honest]]:
    """Eight senders of these bodies, in turn; what they were told, and how the honest fared."""
    stop = threading.Event()
    honest = [Honest(Body("/classify", {}, seeds.picture("PNG"))), Honest(bodies.honest_tensor())]
    told: Counter[int] = Counter()

    def sender(number: int) -> None:
        deadline = time.monotonic() + seconds
        turn = number
        while (turn == number or time.monotonic() < deadline) and server.alive():
            status, _ = post(server.port, made[turn % len(made)], PATIENCE)
            told[status] += 1
            turn += 1

    with ThreadPoolExecutor(AT_A_TIME + len(honest)) as threads:
        asking = [threads.submit(client.ask_until, server.port, stop) for client in honest]
        try:
            for done in [threads.submit(sender, number) for number in range(AT_A_TIME)]:
                done.result()
        finally:
            stop.set()
        for done in asking:
            done.result()
    return told, honest


@pytest.mark.parametrize("group", ["json", "goserve", "gzip", "parameters", "multipart"])
def test_the_worst_texts(digits_prepared: object, group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Parts of 66 MB: where the whole is refused at once, a part is worse."""
    kinds = [kind for kind in bodies.TEXTS if kind.startswith(group)]
    with capsys.disabled():
        check_under_attack(group, [bodies.make(kind, part) for part in (2, 4, 8) for kind in kinds], KIND_SECONDS)


@pytest.mark.skipif(not LONG, reason="twenty minutes; HOSTILE_LONG=1 runs it")
@pytest.mark.parametrize("part", bodies.PARTS)
@pytest.mark.parametrize("kind", bodies.TEXTS)
def test_each_text(digits_prepared: object, kind: str, part: int, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        check_under_attack(f"{kind}, 1/{part}", [bodies.make(kind, part)], KIND_SECONDS)


@pytest.mark.parametrize("kind", bodies.PICTURES)
def test_the_worst_pictures(digits_prepared: object, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        check_under_attack(kind, [bodies.make(kind)], KIND_SECONDS)


def test_the_worst_bodies_of_all_kinds(digits_prepared: object, capsys: pytest.CaptureFixture[str]) -> None:
    made = [bodies.make(kind) for kind in bodies.PICTURES]
    made += [bodies.make(kind, part) for kind in bodies.TEXTS for part in (1, 2)]
    with capsys.disabled():
        check_under_attack("all kinds", made, MIXED_SECONDS)


def test_a_service_learns_its_limit_too(digits_prepared: object, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        check_under_attack("as a service", [bodies.make("gzip-zeros", 2)], KIND_SECONDS, container=False)


def check_under_attack(what: str, made: Sequence[Body], seconds: float, *, container: bool = True) -> None:
    """Nothing is killed, the peak stays below the limit, every answer is a known one, and the honest are served."""
    with (
        memory_limit.limited(MEMORY, container=container) as limit,
        server_process.serve(limit.settings, limit.prefix) as server,
    ):
        told, honest = attack(server, made, seconds)
        assert limit.killed() == 0, f"the kernel killed the server ({limit.how}); attackers saw {told}"
        assert server.alive(), f"the server ended with {server.process.poll()}: {server.words()}"
        used = server.usage()
        peak = used.peak
        times = ", ".join(f"{client.longest:.1f} s" for client in honest)
        print(f"\n{what}: peak {peak / 1e6:.0f} MB, attackers {dict(told)}, honest at most {times}", end=" ")
        assert set(told) <= {200, *REFUSALS}, told
        # Pages of files are not the process's own: they can be dropped, and count for whoever read them first.
        assert peak - used.of_files < MEMORY
        for client in honest:
            client.check()
        assert server.get("/v2/health/ready") == 200
