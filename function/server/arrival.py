"""One body on its way in."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from function.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from function.server.refusals import RefusedError

TURN_READABLE = 48 * 1024  # bytes in the socket buffer that show that the sender would use a turn


class Desk(Protocol):
    """What knows all bodies that are on their way."""

    arriving: dict[Arrival, None]

    def hold(self, arrival: Arrival, count: int) -> None:
        """So many more bytes are held by it."""

    def ask(self, arrival: Arrival) -> bool:
        """Whether it may go on at once."""

    def release(self, arrival: Arrival) -> None:
        """It holds nothing any more, no turn either."""


class Arrival:
    """One body on its way: what has come of it, what memory it holds, and whether it is its turn."""

    def __init__(self, intake: Desk, length: int | None, readable: Callable[[], int] | None) -> None:
        self._intake, self._task = intake, asyncio.current_task()
        self._readable, self._length = readable, length
        self.began = self.moved = self.since = monotonic()
        self.received = self.held = self.used = self.reserved = self.marked = 0
        self.turn = self.beside = False  # `beside`: it lost its turn and is received without one
        self.go_on: Callable[[], None] = lambda: None
        self.lost_turn: Callable[[], None] = lambda: None
        self.refusal: RefusedError | None = None

    def came(self, count: int) -> None:
        """So many more bytes are there."""
        self.received += count
        self.moved = monotonic()

    def hold(self, count: int) -> None:
        """So many more bytes of memory (fewer, below 0) belong to this body; the slowest is refused for want of any."""
        self.used += count
        self.reserve(self.reserved)

    def reserve(self, size: int) -> None:
        """What the body will need counts from now on, in place of what it has, if that is less."""
        self.reserved = size
        more, self.held = max(self.used, size) - self.held, max(self.used, size)
        self._intake.hold(self, more)

    def whole(self) -> int:
        """Bytes of memory that it will need at most."""
        return LIMITS.largest_body if self._length is None else self._length

    def ask(self, go_on: Callable[[], None]) -> bool:
        """Whether this body may go on at once; if not, `go_on` is called later. Bytes beyond ALLOWANCE need this."""
        self.go_on = go_on
        return self._intake.ask(self)

    def may_go_on(self) -> bool:
        return self.turn or self.beside

    def refuse(self, refusal: RefusedError) -> None:
        """Interrupts the task that reads this body; what the body holds counts no more."""
        if self.refusal is None:
            self.refusal = refusal
            self.close()
            if self._task is not None and self._task is not asyncio.current_task():
                self._task.cancel()

    def check(self) -> None:
        """Raises the refusal, if there is one."""
        if self.refusal is not None:
            if self._task is not None and self._task.cancelling():
                self._task.uncancel()
            raise self.refusal

    def complete(self) -> None:
        """All of it is there: it can be too slow no more, but keeps its turn and its memory until `close`."""
        self._intake.arriving.pop(self, None)

    def close(self) -> None:
        """Gives back what it holds."""
        self.complete()
        self._intake.release(self)

    def will_use_a_turn(self) -> bool:
        if self._readable is None:
            return True
        rest = TURN_READABLE if self._length is None else self._length - self.received
        return self._readable() >= min(TURN_READABLE, rest)
