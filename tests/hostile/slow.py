"""Slow senders, and what honest clients get beside them.

    python -m tests.hostile.slow --senders 500 --seconds 20

Prints the honest throughput without and with the slow ones, and ends with 1 when less than 90 % of it is left.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.hostile import bodies, seeds, server_process
from tests.hostile.bodies import Body
from tests.hostile.raw_http import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DRIP_SECONDS = 0.5  # between two bytes of one sender
CLIENTS = 4
EXPECTED = 0.9  # of the honest throughput is left
HEAD = b"POST /classify HTTP/1.1\r\nHost: localhost\r\n"
# (what is sent at once, what drips then, forever); None: nothing more comes.
KINDS: tuple[tuple[str, bytes, bytes | None], ...] = (
    ("a head that drips", b"GET /health HTTP/1.1\r\n", b"X-Y: z\r\n"),
    ("1,000 bytes declared, none sent", HEAD + b"Content-Length: 1000\r\n\r\n", None),
    ("2 MB declared, 100 kB sent", HEAD + b"Content-Length: 2000000\r\n\r\n" + bytes(100_000), None),
    ("2 MB declared, 100 kB sent, then a drip", HEAD + b"Content-Length: 2000000\r\n\r\n" + bytes(100_000), b"\0"),
    ("chunks that drip", HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
)


class Senders:
    """A crowd of slow senders, each of KINDS in turn. One whose connection ends comes back at once."""

    def __init__(self, port: int, count: int, kinds: Sequence[tuple[str, bytes, bytes | None]] = KINDS) -> None:
        self.port = port
        self.returns = 0
        self._kinds = itertools.cycle(kinds)
        self._stop = threading.Event()
        self._places = [(next(self._kinds), None) for _ in range(count)]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._selector = selectors.DefaultSelector()
        self._drips: dict[socket.socket, bytes] = {}

    def __enter__(self) -> Senders:
        for kind, _ in self._places:
            self._open(kind)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _open(self, kind: tuple[str, bytes, bytes | None]) -> None:
        _, first, then = kind
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.settimeout(0)
        with suppress(OSError):  # what does not fit into the socket stays unsent: so much the slower
            connection.send(first)
        self._selector.register(connection, selectors.EVENT_READ, kind)
        if then:
            self._drips[connection] = then

    def _run(self) -> None:
        due = time.monotonic() + DRIP_SECONDS
        while not self._stop.is_set():
            for key, _ in self._selector.select(timeout=0.05):
                self._read(key)
            if time.monotonic() >= due:
                due = time.monotonic() + DRIP_SECONDS
                for connection, data in list(self._drips.items()):
                    with suppress(OSError):
                        connection.send(data)

    def _read(self, key: selectors.SelectorKey) -> None:
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        try:
            ended = not connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._selector.unregister(connection)
            self._drips.pop(connection, None)
            connection.close()
            self.returns += 1
            with suppress(OSError):
                self._open(key.data)


@dataclass
class Honest:
    """Clients that ask one after the other, on kept connections, for `seconds`."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    longest: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def shown(self) -> str:
        return f"{self.rate:.0f} right answers a second, {dict(self.statuses)}, the longest {self.longest:.2f} s"


def honest_bodies() -> list[Body]:
    """Pictures, and a tensor of more than a megabyte now and then."""
    picture = Body("/classify", {}, seeds.picture("PNG"))
    return [picture] * 9 + [bodies.honest_tensor()]


def measure(port: int, seconds: float) -> Honest:
    """What honest clients are told within `seconds`. HangError when an answer takes longer than a hang does."""
    seen = Honest()
    lock = threading.Lock()
    started = time.monotonic()

    def client(number: int) -> None:
        turns = itertools.cycle(honest_bodies())
        connection = Connection(port, timeout=60)
        for sent in itertools.islice(turns, number, None):
            if time.monotonic() - started > seconds:
                break
            asked = time.monotonic()
            lines = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
            head = f"POST {sent.path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {len(sent.body)}\r\n\r\n"
            connection.send(head.encode() + sent.body)
            answer = connection.answer()
            with lock:
                seen.statuses[answer.status] += 1
                seen.longest = max(seen.longest, time.monotonic() - asked)
            if answer.headers.get("connection") == "close":
                connection.socket.close()
                connection = Connection(port, timeout=60)
        connection.socket.close()

    with ThreadPoolExecutor(CLIENTS) as threads:
        for done in [threads.submit(client, number) for number in range(CLIENTS)]:
            done.result()
    seen.seconds = time.monotonic() - started
    return seen


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """So many may be open in this process meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--senders", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    with server_process.serve() as server, descriptors(given.senders + 200):
        measure(server.port, 2)
        alone = measure(server.port, given.seconds)
        print(f"alone: {alone.shown()}")
        with Senders(server.port, given.senders) as senders:
            beside = measure(server.port, given.seconds)
            share = beside.rate / alone.rate
            print(f"beside {given.senders} slow senders, who came back {senders.returns} times: {beside.shown()}")
        print(f"{100 * share:.0f} % of the throughput are left, {100 * EXPECTED:.0f} % were expected")
        return share < EXPECTED or set(beside.statuses) != {200}


if __name__ == "__main__":
    sys.exit(main())
