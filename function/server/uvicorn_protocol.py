"""uvicorn's HTTP/1.1 protocol, with large bodies received straight into one buffer of their length."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from httptools import HttpRequestParser
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from function.messages import LARGE_BODY, WHOLE_BODY
from function.native.yyjson import OwnedText

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Protocol(HttpToolsProtocol):
    """Leaves a large body in the socket until the app asks for it; then it arrives without a copy on the way.

    The app asks by the scope's extension WHOLE_BODY, whose `read` is a coroutine function, or by `receive` as ever.
    """

    def on_headers_complete(self) -> None:
        """The head is there: the app starts."""
        super().on_headers_complete()
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        if length.isdigit() and int(length) > LARGE_BODY:
            cycle = self.cycle
            self.scope["extensions"] = {WHOLE_BODY: {"read": lambda: self._whole_body(cycle, int(length))}}
            self.flow.pause_reading()

    async def _whole_body(self, cycle: RequestResponseCycle, length: int) -> bytearray:
        """The body, once all of it is there; Starlette's ClientDisconnect when the client hangs up before."""
        if cycle.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        receiver = _Receiver(self, length, cycle.body)
        cycle.body = bytearray()
        if cycle.more_body and not cycle.disconnected:
            self.transport.set_protocol(receiver)
            self.flow.resume_reading()
            try:
                await receiver.ended.wait()
            except asyncio.CancelledError:  # it takes too long: what still comes is no request
                cycle.keep_alive = False
                raise
            cycle.more_body = False
        if cycle.disconnected:
            raise ClientDisconnect
        return receiver.take()

    def resume(self) -> None:
        """The receiver is done. The parser knows nothing of what it received, so the next request gets a new one."""
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.transport.set_protocol(self)


class _Receiver(asyncio.BufferedProtocol):
    """Takes the connection's place until the body is whole."""

    def __init__(self, http: Protocol, length: int, begun: bytearray) -> None:
        self.http = http
        self.body = OwnedText(length)  # JSON can be read in place
        self.body[: len(begun)] = begun
        self.rest = memoryview(self.body)[len(begun) :]
        self.ended = asyncio.Event()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go: they are no more than belong to the body."""
        return self.rest

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self.rest = self.rest[nbytes:]
        if not self.rest:
            self.http.resume()
            self.ended.set()

    def take(self) -> bytearray:
        """The body, which nothing here keeps: uvloop holds the last receiver until there is another."""
        body, self.body, self.rest = self.body, OwnedText(0), memoryview(b"")
        return body

    def connection_lost(self, error: Exception | None) -> None:
        self.http.connection_lost(error)
        self.ended.set()

    def pause_writing(self) -> None:
        self.http.pause_writing()

    def resume_writing(self) -> None:
        self.http.resume_writing()
