"""Connections: how many there may be, and how long one may keep the server waiting for a request."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_S = 10.0  # from a request's first byte to the end of its head, and from a connection's beginning to that byte
KEEP_ALIVE_S = 5.0  # from an answer to the next request's first byte
LINGER_S = 2.0  # how long what a client still sends is read and dropped after it was answered early
_CHECK_S = 0.25


class Guest(Protocol):
    """A connection."""

    transport: asyncio.Transport

    def too_late(self) -> None:
        """What it waited for has not come in time."""


class Lobby:
    """The connections on which no request is being served, longest there first."""

    def __init__(self, capacity: int, refused: Callable[[str], None]) -> None:
        """`capacity` connections at a time, waiting or served; `refused` counts a refusal's reason."""
        self.refused = refused
        self.draining = False  # the server is about to end: each answer is the last on its connection
        self._capacity = capacity
        self._deadlines: dict[Guest, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: Guest, seconds: float) -> None:
        """Now `connection` waits, and is told `too_late` after `seconds`. Called again it keeps its place."""
        self._deadlines[connection] = monotonic() + seconds
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_CHECK_S, self._check)

    def leave(self, connection: Guest) -> None:
        """It is being served, or gone."""
        self._deadlines.pop(connection, None)

    def make_room(self, connections: int) -> None:
        """Closes the connection that has waited longest where there are more than the capacity."""
        if connections > self._capacity and self._deadlines:
            self.refused("connections")
            longest = next(iter(self._deadlines))
            self.leave(longest)
            longest.transport.abort()

    def _check(self) -> None:
        now = monotonic()
        for connection in [each for each, deadline in self._deadlines.items() if deadline < now]:
            self.leave(connection)
            connection.too_late()
        again = asyncio.get_running_loop().call_later(_CHECK_S, self._check) if self._deadlines else None
        self._timer = again
