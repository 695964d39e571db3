"""One attempt on an event loop: an answer as it comes, with its timeouts, for whoever reads it piece by piece."""

from __future__ import annotations

import asyncio

from function.upstream import events
from function.upstream.failure import UpstreamError
from function.upstream.reply import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from function.upstream.call import Call
    from function.upstream.wires import Wire

    class Sink(Protocol):
        """A client's connection."""

        def write(self, data: bytes) -> bool:
            """False where the client should read first; `drain` waits for that."""

        async def drain(self) -> None: ...


class Stream:
    """An async iterator over the pieces of the answer, and `pipe` for a server's own connections.

    `finished` is told once, when the answer is whole, has failed or is given up; `failure` is why. What nobody has
    taken yet is one piece: until then nothing more is read from the upstream.
    """

    def __init__(self, call: Call, wire: Wire, finished: Callable[[Stream], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.reply = Reply(call, self._loop.time())
        self.wire, self._finished = wire, finished
        self.over = self.held = False  # held: it has a place among the calls of its upstream, to be given back
        self.failure: UpstreamError | None = None
        self._piece = b""
        self._sink: Callable[[bytes], bool] | None = None
        self._changed = asyncio.Event()
        self._timer = self._loop.call_at(self.reply.expires(), self._check)
        wire.listener = self

    async def begun(self) -> None:
        """Waits for the first token, or for all of an answer that does not stream; UpstreamError."""
        while not (self.reply.begun or self.over):
            await self._wait()
        if self.failure is not None and not self.reply.begun:
            raise self.failure

    async def pipe(self, sink: Sink) -> None:
        """Writes each piece into `sink` as it comes, without a turn of the loop for it."""
        slow = False

        def pass_on(piece: bytes) -> bool:
            nonlocal slow
            slow = not sink.write(piece)
            return not slow

        self._sink = pass_on
        piece, self._piece = self._piece, b""
        if piece:
            pass_on(piece)
        while not self.over:
            if slow:
                self._pause()
                await sink.drain()
                slow = False
            self._resume()
            await self._wait()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        while not self._piece:
            if self.over:
                raise StopAsyncIteration
            self._resume()
            await self._wait()
        piece, self._piece = self._piece, b""
        return piece

    def received(self, data: bytes) -> None:
        """The wire's."""
        try:
            piece = self.reply.feed(data, self._loop.time())
        except UpstreamError as error:
            self.fail(error)
            return
        if piece:
            self._emit(piece)
        if self.reply.done:
            self._finish()

    def ended(self) -> None:
        """The wire's: the connection is closed."""
        try:
            piece = self.reply.end(self._loop.time())
        except UpstreamError as error:
            self.fail(error)
            return
        if piece:
            self._emit(piece)
        self._finish()

    def fail(self, error: UpstreamError) -> None:
        """Ends it; behind the first token by an event that tells the reader."""
        if self.over:
            return
        self.failure = error
        if self.reply.streams and self.reply.begun:
            self._emit(events.error(error))
        self._finish()

    def abort(self) -> None:
        """Nobody reads it any more."""
        self.fail(UpstreamError("client", "the client left before the answer was whole"))

    def _emit(self, piece: bytes) -> None:
        if self._sink is not None:
            if not self._sink(piece):
                self.wire.pause()
                self._changed.set()
            return
        self._piece += piece
        self._pause()
        self._changed.set()

    def _pause(self) -> None:
        self.wire.pause()
        self._timer.cancel()  # it is the reader who is waited for

    def _resume(self) -> None:
        if self._timer.cancelled() and not self.over:
            self.reply.moved(self._loop.time())
            self._timer = self._loop.call_at(self.reply.expires(), self._check)
        self.wire.resume()

    def _check(self) -> None:
        error = self.reply.overdue(self._loop.time())
        if error is not None:
            self.fail(error)
        else:
            self._timer = self._loop.call_at(self.reply.expires(), self._check)

    def _finish(self) -> None:
        if not self.over:
            self.over = True
            self._timer.cancel()
            self._finished(self)
            self._changed.set()

    async def _wait(self) -> None:
        await self._changed.wait()
        self._changed.clear()
