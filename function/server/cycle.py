"""One request on a connection of the server: its answer in one write, its large body in one buffer."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from function.server.bodies import ClientGoneError
from function.server.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from uvicorn._types import ASGISendEvent

    from function.server.arrival import Arrival
    from function.server.lobby import Lobby


class Owner(HttpToolsProtocol):
    """What a cycle needs of the protocol that it belongs to."""

    lobby: Lobby

    def resume(self) -> None:
        """A receiver has read the body to its end."""
        raise NotImplementedError

    def answered(self, cycle: Cycle) -> None:
        """The answer has been written."""
        raise NotImplementedError


class Cycle(RequestResponseCycle):
    """uvicorn's, which also is the Connection that an app finds in its scope."""

    def __init__(self, http: Owner, length: int, **arguments: Any) -> None:
        """`length` of a large body that is declared and still to come, else 0."""
        super().__init__(
            **arguments,
            transport=http.transport,
            flow=http.flow,
            logger=http.logger,
            access_logger=http.access_logger,
            access_log=False,
            default_headers=http.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=_nothing,
        )
        self._http, self._length = http, length
        self._start: Any = None
        self.on_lost: Callable[[], object] | None = None

    @property
    def lost(self) -> bool:
        """Nobody can read the answer any more."""
        return self.disconnected

    def readable(self) -> int:
        """Bytes that wait in the socket."""
        connection = self.transport.get_extra_info("socket")
        if connection is None or self.transport.is_closing():
            return 0
        (count,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.FIONREAD, b"\0\0\0\0"))
        return int(count)

    def reads_whole(self) -> bool:
        """Whether `read_whole` gets the body."""
        return bool(self._length)

    async def read_whole(self, arrival: Arrival) -> bytearray:
        """The body, once all of it is there; ClientGoneError when the client hangs up before."""
        if self.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        begun, self.body = self.body, bytearray()
        if self.disconnected:
            raise ClientGoneError
        receiver = Receiver(self._http, arrival, self._length, begun)
        self.transport.set_protocol(receiver)
        try:
            arrival.check()
            await receiver.ended.wait()
        except BaseException:  # refused: what the client still sends of this body must not be parsed as a request
            self.transport.set_protocol(self._http)
            raise
        if self.disconnected:
            raise ClientGoneError
        self.more_body = False
        return receiver.take()

    async def send(self, message: ASGISendEvent) -> None:
        """The head is kept until the body is there, and both are written at once."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()  # the client sends requests and does not read the answers
        if self.disconnected:
            return
        body: bytes = message["body"]  # type: ignore[typeddict-item]
        head = [STATUS_LINE[self._start["status"]]]
        for name, value in (*self.default_headers, *self._start["headers"]):
            if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
                raise RuntimeError(f"the answer's header {name!r} cannot be sent: {value!r}")
            head += (name, b": ", value, b"\r\n")
        if self.more_body or (self._http.lobby.draining and not self._http.pipeline):
            self.keep_alive = False
        if not self.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(b"\r\n")
        if self.scope["method"] != "HEAD":
            head.append(body)
        self.transport.write(b"".join(head))
        self.response_started = self.response_complete = True
        self.message_event.set()
        self._http.answered(self)

    async def send_500_response(self) -> None:
        """The app has failed, and its traceback is in the log."""
        body = b'{"error":"the server failed unexpectedly; its log says where"}'
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        self.keep_alive = False
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _nothing() -> None: ...
