"""Takes a connection's place until a large body is whole, which so arrives in one buffer, without a copy on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from function.server.intake import ALLOWANCE
from function.server.refusals import RefusedError

if TYPE_CHECKING:
    from function.server.arrival import Arrival
    from function.server.flow import FlowControl

_NOWHERE = memoryview(bytearray(ALLOWANCE))  # where the rest of a refused body is read to


class Http(Protocol):
    """The protocol that has the connection before and after."""

    flow: FlowControl

    def resume(self) -> None:
        """The body is whole."""

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Receiver(asyncio.BufferedProtocol):
    """The buffer grows to the body's length when it is this body's turn, else with what comes.

    So a sender that declares much and sends little holds little more memory than what it sent.
    """

    def __init__(self, http: Http, arrival: Arrival, length: int, begun: bytearray) -> None:
        self._http, self._arrival, self._length = http, arrival, length
        self._body, self._size = begun, len(begun)
        self.ended = asyncio.Event()
        arrival.lost_turn = self._shrink
        arrival.came(len(begun))
        arrival.hold(len(begun))
        self._go_on_if_allowed()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go: they are no more than belong to the body."""
        if self._size == len(self._body):
            self._grow()
        if self._arrival.refusal is not None:
            return _NOWHERE
        return memoryview(self._body)[self._size :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        if self._arrival.refusal is not None:
            return
        self._size += nbytes
        self._arrival.came(nbytes)
        if self._size == self._length:
            self._arrival.complete()
            self._http.resume()
            self.ended.set()
        elif self._size == len(self._body):
            self._go_on_if_allowed()

    def _go_on_if_allowed(self) -> None:
        if self._size >= ALLOWANCE and not self._arrival.ask(self._http.flow.resume_reading):
            self._http.flow.pause_reading()
        else:
            self._http.flow.resume_reading()

    def _grow(self) -> None:
        if self._arrival.turn:
            size = self._length
        else:
            size = min(self._length, self._size + max(ALLOWANCE, self._size // 2))
        both = 0 if self._arrival.turn else len(self._body)  # while one is copied; what comes before a turn is little
        self._arrival.hold(size - len(self._body) + both)
        if self._arrival.refusal is not None:
            return
        try:
            body = bytearray(size)
        except MemoryError:
            self._arrival.refuse(
                RefusedError("memory", "UNAVAILABLE", "not enough memory for this body; send a smaller one")
            )
            return
        body[: self._size] = self._body
        self._arrival.hold(-both)
        self._body = body

    def _shrink(self) -> None:
        self._arrival.hold(self._size - len(self._body))
        del self._body[self._size :]

    def take(self) -> bytearray:
        """The body, which nothing here keeps: uvloop holds the last receiver until there is another."""
        body, self._body = self._body, bytearray()
        return body

    def connection_lost(self, error: Exception | None) -> None:
        self._http.connection_lost(error)
        self.ended.set()

    def eof_received(self) -> None:
        """The client is done before its body is: the connection is closed."""

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
