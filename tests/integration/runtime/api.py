"""A Lambda runtime API on a loopback socket that does what a test tells it: well, slowly, wrongly, or in part."""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

PREFIX = "/2018-06-01/runtime/"
NEXT, INIT_ERROR = f"{PREFIX}invocation/next", f"{PREFIX}init/error"
WAIT = 30.0  # seconds for what has to come; only a broken client ever waits so long

CLOSE = object()  # ends the connection in an orderly way
RESET = object()  # ends it with a RST, as a peer that has crashed
Step = bytes | float | object  # to send, seconds to wait, or one of the two above


@dataclass(frozen=True)
class Seen:
    """A request as it came; header names are lower case, `connection` counts the connections.

    `chunks` and `trailers` are of a body that came in chunks; `body` is all of it.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    chunks: tuple[bytes, ...] = ()
    trailers: dict[str, str] = field(default_factory=dict)

    def document(self) -> Any:
        return json.loads(self.body)


def answer(status: str = "202 Accepted", body: bytes = b'{"status":"OK"}\n', *more: str) -> list[Step]:
    """A whole HTTP answer of known length."""
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *more]
    return ["\r\n".join([*head, "", ""]).encode() + body]


def event_headers(number: int = 1) -> dict[str, str]:
    """What Lambda says of an event."""
    return {
        "Content-Type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": f"request-{number}",
        "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 30_000),
        "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:012345678912:function:toy:live",
        "Lambda-Runtime-Trace-Id": f"Root=1-5759e988-bd862e3fe1be46a99427279{number};Sampled=1",
    }


def event(
    document: Any,
    headers: Mapping[str, str | None] = {},
    *,
    chunks: Sequence[int] | None = None,
    extension: str = "",
    number: int = 1,
) -> list[Step]:
    """The answer to `next`: an event (an object, or its bytes), sized, or in chunks of these sizes and a last one.

    A header that is None is left out.
    """
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    said = event_headers(number) | dict(headers)
    head = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in said.items() if value is not None)]
    if chunks is None:
        return ["\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body]
    sent = ["\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode()]
    at = 0
    for size in [*chunks, len(body)]:
        if piece := body[at : at + size]:
            sent.append(f"{len(piece):x}{extension}\r\n".encode() + piece + b"\r\n")
        at += size
    return [b"".join([*sent, b"0\r\n\r\n"])]


def pieces(steps: Sequence[Step], size: int, seconds: float = 0.0) -> list[Step]:
    """The same bytes in writes of `size`, with a pause after each."""
    whole = b"".join(step for step in steps if isinstance(step, bytes))
    cut: list[Step] = []
    for at in range(0, len(whole), size):
        cut += [whole[at : at + size], seconds]
    return cut


class RuntimeApi:
    """Answers `next` from `events` and each POST from `posts`, else with 202; keeps what it saw in `seen`."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[list[Step]] = queue.SimpleQueue()
        self.posts: queue.SimpleQueue[list[Step]] = queue.SimpleQueue()
        self.seen: list[Seen] = []
        self.hang_up_after: int | None = None  # bytes of a POST's body, of which the rest is not read
        self.cut_after: int | None = None  # chunks of a body, after which the connection is reset
        self.stop_after: int | None = None  # chunks of a body, after which nothing is read any more
        self.keeps_chunks = True
        self.chunks: list[bytes] = []  # of the streamed body that is coming, or came last
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def address(self) -> str:
        """host:port, as AWS_LAMBDA_RUNTIME_API has it."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for each in [self._listener, *self._sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT)
        for each in [self._listener, *self._sockets]:
            each.close()

    def wait_for(self, path: str, count: int = 1) -> Seen:
        """The `count`th request to a path, once it is there; AssertionError when it does not come."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._of(path)) >= count, WAIT)
            found = self._of(path)
        assert len(found) >= count, f"{path} was asked {len(found)} times; all requests: {self.seen}"
        return found[count - 1]

    def wait_for_chunks(self, count: int) -> list[bytes]:
        """The first `count` chunks of the body that is coming, once they are there."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.chunks) >= count, WAIT)
            assert len(self.chunks) >= count, f"{len(self.chunks)} chunks came: {self.chunks}"
            return self.chunks[:count]

    def response(self, number: int = 1) -> Seen:
        """The response to the event of that number."""
        return self.wait_for(f"{PREFIX}invocation/request-{number}/response")

    def error(self, number: int = 1) -> Seen:
        """The error reported for the event of that number."""
        return self.wait_for(f"{PREFIX}invocation/request-{number}/error")

    def _of(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection, len(self._sockets)))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        reader = connection.makefile("rb")
        with suppress(OSError), reader:
            while line := reader.readline():
                method, path, _ = line.decode().split(" ")
                headers = {}
                while (field := reader.readline().decode().rstrip("\r\n")) != "":
                    name, _, value = field.partition(":")
                    headers[name.lower()] = value.strip()
                if method == "POST" and self.hang_up_after is not None:
                    reader.read(self.hang_up_after)
                    self._answer(connection, [*answer("413 Too Large"), RESET])
                    return
                trailers: dict[str, str] = {}
                if headers.get("transfer-encoding") == "chunked":
                    if not self._read_chunks(reader, trailers):
                        self._answer(connection, [RESET])
                        return
                    body, chunks = b"".join(self.chunks), tuple(self.chunks)
                else:
                    body, chunks = reader.read(int(headers.get("content-length", "0"))), ()
                with self._changed:
                    self.seen.append(Seen(method, path, headers, body, number, chunks, trailers))
                    self._changed.notify_all()
                if not self._answer(connection, self._reply(method)):
                    return

    def _read_chunks(self, reader: BinaryIO, trailers: dict[str, str]) -> bool:
        """Whether all of them came, and the trailers; they are in `chunks` as soon as they come."""
        self.chunks = []
        count = 0
        while size := int(reader.readline(), 16):
            chunk = reader.read(size)
            assert (len(chunk), reader.readline()) == (size, b"\r\n")
            count += 1
            with self._changed:
                self.chunks.append(chunk if self.keeps_chunks else b"")
                self._changed.notify_all()
            if count == self.cut_after:
                return False
            if count == self.stop_after:
                self._closed.wait(WAIT)
                return False
        while line := reader.readline().decode().rstrip("\r\n"):
            name, _, value = line.partition(":")
            trailers[name.lower()] = value.strip()
        return True

    def _reply(self, method: str) -> list[Step]:
        while method == "GET":
            try:
                return self.events.get(timeout=0.05)
            except queue.Empty:
                if self._closed.is_set():
                    return [CLOSE]
        return self.posts.get() if not self.posts.empty() else answer()

    def _answer(self, connection: socket.socket, steps: Sequence[Step]) -> bool:
        """Whether the connection goes on."""
        for step in steps:
            if step is CLOSE or step is RESET:
                if step is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
                return False
            if isinstance(step, float):
                time.sleep(step)
            elif isinstance(step, bytes):
                connection.sendall(step)
        return True
