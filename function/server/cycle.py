"""One request on a connection of the server: ASGI's receive and send, a large body in one buffer, one write."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import TYPE_CHECKING

from function.server.bodies import ClientGoneError
from function.server.heads import answer_head
from function.server.receiver import Receiver

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable
    from typing import Any

    from function.server.arrival import Arrival
    from function.server.flow import FlowControl
    from function.server.lobby import Lobby

    Application = Callable[[Any, Any, Any], Awaitable[None]]  # ASGI's, for HTTP alone

HIGH_WATER = 64 * 1024  # bytes of a body that the app has not asked for


class Owner(asyncio.Protocol):
    """What a cycle needs of the connection that it belongs to."""

    transport: asyncio.Transport
    flow: FlowControl
    lobby: Lobby
    pipeline: deque[Cycle]

    def date(self) -> bytes:
        """The header line of this moment."""
        raise NotImplementedError

    def resume(self) -> None:
        """A receiver has read the body to its end."""
        raise NotImplementedError

    def answered(self, cycle: Cycle) -> None:
        """The answer has been written."""
        raise NotImplementedError


class Cycle:
    """Also the Connection that an app finds in its scope."""

    def __init__(self, http: Owner, length: int, scope: dict[str, Any], *, expect: bool, keep_alive: bool) -> None:
        """`length` of a large body that is declared and still to come, else 0; `expect` for 100-continue."""
        self._http, self._length, self.scope = http, length, scope
        self._expected, self.keep_alive = expect, keep_alive
        self.body, self.more_body = bytearray(), True
        self.response_complete = False
        self.lost = False  # nobody can read the answer any more
        self.on_lost: Callable[[], object] | None = None
        self.ends_with_client = False
        self._changed = asyncio.Event()
        self._start: Any = None
        self._begun = self._chunked = False  # the head of an answer in pieces was sent; they are HTTP/1.1's chunks

    async def run(self, app: Application) -> None:
        """The app's answer; 500 when it gives none."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001  (a defect: its trace is for the log, not for the client)
            import traceback

            traceback.print_exc()
            if self.response_complete:
                self._http.transport.close()
            elif self._begun:
                self._http.transport.abort()  # it cannot be made whole, and must not look so
                return
        if not (self.response_complete or self.lost):
            await self._fail()

    def feed(self, data: bytes) -> None:
        """More of the body."""
        self.body += data
        if len(self.body) > HIGH_WATER:
            self._http.flow.pause_reading()
        self._changed.set()

    def whole(self) -> None:
        """The body is all there."""
        self.more_body = False
        self._changed.set()

    def cut_off(self) -> None:
        """No more comes of the body, and no answer is wanted."""
        self.lost = True
        self._changed.set()

    def lose(self) -> None:
        """The connection is gone."""
        if not self.response_complete:
            self.cut_off()
            if self.on_lost is not None:
                self.on_lost()

    def readable(self) -> int:
        """Bytes that wait in the socket."""
        connection = self._http.transport.get_extra_info("socket")
        if connection is None or self._http.transport.is_closing():
            return 0
        (count,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.FIONREAD, b"\0\0\0\0"))
        return int(count)

    def reads_whole(self) -> bool:
        """Whether `read_whole` gets the body."""
        return bool(self._length)

    def _continue(self) -> None:
        if self._expected and not self._http.transport.is_closing():
            self._http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expected = False

    async def read_whole(self, arrival: Arrival) -> bytearray:
        """The body, once all of it is there; ClientGoneError when the client hangs up before."""
        self._continue()
        begun, self.body = self.body, bytearray()
        if self.lost:
            raise ClientGoneError
        receiver = Receiver(self._http, arrival, self._length, begun)
        self._http.transport.set_protocol(receiver)
        try:
            arrival.check()
            await receiver.ended.wait()
        except BaseException:  # refused: what the client still sends of this body must not be parsed as a request
            self._http.transport.set_protocol(self._http)
            raise
        if self.lost:
            raise ClientGoneError
        self.more_body = False
        return receiver.take()

    async def receive(self) -> dict[str, Any]:
        """ASGI's: the next part of the body, or that there is none."""
        self._continue()
        if not (self.lost or self.response_complete):
            self._http.flow.resume_reading()
            await self._changed.wait()
            self._changed.clear()
        if self.lost or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def write(self, data: bytes) -> bool:
        """A piece of an answer that has begun; False where the client should read first."""
        if self.lost:
            return True
        self._http.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return not self._http.flow.write_paused

    async def drain(self) -> None:
        """Waits until the client has read on, or is gone."""
        if not self.lost:
            await self._http.flow.drain()

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's: the head is kept until a body is there, and both are written at once."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        http = self._http
        if http.flow.write_paused and not self.lost:
            await http.flow.drain()  # the client sends requests and does not read the answers
        if self.lost:
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self._begun:
            self._begun, self._chunked = more, more and self.scope["http_version"] == "1.1"
            self.keep_alive = self.keep_alive and self._chunked == more
            http.transport.write(self._head() + (b"" if more or self.scope["method"] == "HEAD" else body))
        if self._begun and body:
            self.write(body)
        if more:
            return
        if self._chunked:
            http.transport.write(b"0\r\n\r\n")
        self.response_complete = True
        self._changed.set()
        http.answered(self)

    def _head(self) -> bytes:
        http = self._http
        head = [answer_head(self._start["status"], self._start["headers"]), http.date()]
        if self.more_body or (http.lobby.draining and not http.pipeline):
            self.keep_alive = False
        if not self.keep_alive:
            head.append(b"connection: close\r\n")
        if self._chunked:
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        return b"".join(head)

    async def _fail(self) -> None:
        """The app has failed, and its traceback is in the log."""
        body = b'{"error":"the server failed unexpectedly; its log says where"}'
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        self.keep_alive = False
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
