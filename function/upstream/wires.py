"""Connections to upstreams on an event loop, kept between calls. A server alone imports this: asyncio costs 27 ms."""

from __future__ import annotations

import asyncio

from function.upstream.failure import unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Protocol

    from function.upstream.target import Target

    class Listener(Protocol):
        """Who waits for what comes."""

        def received(self, data: bytes) -> None: ...
        def ended(self) -> None: ...


IDLE_S = 30.0  # that a connection is kept; upstreams close theirs after 60 s or more
MOST_IDLE = 256  # kept for each upstream
# What all connections read into, one after the other: a buffer for each read would be allocated anew 40,000 times a
# second. What came is copied out before the loop turns to the next.
_BUFFER = bytearray(64 * 1024)
_VIEW = memoryview(_BUFFER)


class Wire(asyncio.BufferedProtocol):
    """One connection. `kept`: it has been used before, so that its other end may be closing it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.kept = self.lost = self._paused = False
        self.expiry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio's)
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        if self.listener is not None:
            self.listener.received(bytes(_VIEW[:nbytes]))
        else:  # nothing was asked: an answer to a call that does not exist
            self.transport.abort()

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's)
        self.lost = True
        self._end()

    def _end(self) -> None:
        self.lost = True
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.ended()

    def pause(self) -> None:
        if not (self._paused or self.lost):
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.lost:
            self._paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Nothing more is heard of it."""
        self.listener, self.lost = None, True
        self.transport.abort()


class Wires:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int, bool], list[Wire]] = {}
        self._tls: ssl.SSLContext | None = None

    def kept(self, target: Target) -> Wire | None:
        """A connection that was used before, the latest first."""
        idle = self._idle.get(target.address, [])
        while idle:
            wire = idle.pop()
            if wire.expiry is not None:
                wire.expiry.cancel()
            if not wire.lost:
                wire.kept = True
                return wire
        return None

    def keep(self, target: Target, wire: Wire) -> None:
        """For the next call; its answer is whole."""
        wire.listener = None
        idle = self._idle.setdefault(target.address, [])
        if len(idle) >= MOST_IDLE or wire.lost:
            wire.close()
            return
        wire.resume()
        idle.append(wire)
        wire.expiry = asyncio.get_running_loop().call_later(IDLE_S, self._expire, idle, wire)

    def _expire(self, idle: list[Wire], wire: Wire) -> None:
        if wire in idle:
            idle.remove(wire)
        wire.close()

    async def connect(self, target: Target) -> Wire:
        """A new connection; UpstreamError."""
        tls = await self._context() if target.tls else None
        try:
            async with asyncio.timeout(target.connect_s):
                _, wire = await asyncio.get_running_loop().create_connection(
                    Wire, target.host, target.port, ssl=tls, server_hostname=target.host if tls else None
                )
        except OSError as error:
            raise unreachable(target, error) from None
        return wire

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = await asyncio.to_thread(_tls)
        return self._tls

    def close(self) -> None:
        """All that are idle."""
        for idle in self._idle.values():
            for wire in idle:
                if wire.expiry is not None:
                    wire.expiry.cancel()
                wire.close()


def _tls() -> ssl.SSLContext:
    """50 ms. A server imports asyncio without `ssl`, for 6 ms: what of it speaks TLS is then read once more."""
    import ssl
    from asyncio import sslproto

    if getattr(sslproto, "ssl", None) is None:
        import importlib

        importlib.reload(sslproto)
    return ssl.create_default_context()
