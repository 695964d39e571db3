"""Bodies on their way in: how much memory they take together, how slow a sender may be, whose turn a large one is.

A body takes no place in the queue while it comes, so that a slow sender keeps no one from working. Large bodies are
received in turns, two for each thread, one being worked on and one being received: the others wait in their senders'
sockets, where they take no memory of ours. Whoever does not use its turn loses it, and goes on beside the others.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from function.limits import LIMITS
from function.server.arrival import Arrival
from function.server.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWANCE = 64 * 1024  # bytes of a large body that are received before it needs a turn
GRACE_S, MIN_BYTES_PER_S = 10.0, 8_000  # after the grace period, the least average rate since the body began
IDLE_S = 10.0  # seconds without a byte, and the body is refused
TURN_WAIT_S = 30.0
TURN_CHECK_S, TURN_BYTES = 0.03, 16 * 1024  # while others wait, a turn is lost that brings fewer bytes in that time
CHECK_S = 0.5


class Intake:
    """All bodies of a server. Belongs to its event loop."""

    def __init__(self, turns: int, waiting: int) -> None:
        """`turns` large bodies are received or worked on at a time, at most `waiting` wait for a turn."""
        self._turns, self._most_waiting = turns, waiting
        self._held = 0  # bytes
        self.arriving: dict[Arrival, None] = {}
        self._holders: dict[Arrival, None] = {}
        self._waiting: dict[Arrival, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._turn_timer: asyncio.TimerHandle | None = None

    def open(self, length: int | None, readable: Callable[[], int] | None) -> Arrival:
        """A body that begins to come; `length` if it is declared. Close it in any case."""
        arrival = Arrival(self, length, readable)
        self.arriving[arrival] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check_rates)
        return arrival

    def hold(self, count: int) -> None:
        self._held += count
        now = monotonic()
        while self._held > LIMITS.bodies:
            holding = [arrival for arrival in self.arriving if arrival.held]
            if not holding:
                return  # what is held are whole bodies, and the queue limits their number
            min(holding, key=lambda arrival: arrival.rate(now)).refuse(
                RefusedError(
                    "memory",
                    "UNAVAILABLE",
                    f"bodies being received take {LIMITS.bodies} bytes already, and this one came slowest; "
                    "try again in a second",
                )
            )

    def release(self, arrival: Arrival) -> None:
        self._held -= arrival.held
        arrival.held = 0
        self._waiting.pop(arrival, None)
        if arrival.turn:
            arrival.turn = False
            del self._holders[arrival]
            self._grant()

    def ask(self, arrival: Arrival) -> bool:
        if arrival.may_go_on():
            return True
        if len(self._holders) < self._turns and not self._waiting:
            self._give_turn(arrival)
            return True
        arrival.since = monotonic()
        self._waiting[arrival] = None
        if len(self._waiting) > self._most_waiting:
            idle = next((each for each in self._waiting if not each.will_use_a_turn()), None)
            if idle is None:
                message = f"{self._most_waiting} large requests wait for their turn already; try again in a second"
                arrival.refuse(RefusedError("queue", "UNAVAILABLE", message))
            else:
                self._set_beside(idle)
        if self._turn_timer is None:
            self._turn_timer = asyncio.get_running_loop().call_later(TURN_CHECK_S, self._check_turns)
        return arrival.may_go_on()

    def _give_turn(self, arrival: Arrival) -> None:
        arrival.turn, arrival.since, arrival.marked = True, monotonic(), arrival.received
        self._holders[arrival] = None

    def _set_beside(self, arrival: Arrival) -> None:
        self._waited(arrival)
        arrival.beside = True
        arrival.go_on()

    def _waited(self, arrival: Arrival) -> None:
        # While it waits for a turn, the sender is slow because of us: that time does not count.
        waited = monotonic() - arrival.since
        arrival.began += waited
        arrival.moved += waited
        self._waiting.pop(arrival, None)

    def _grant(self) -> None:
        while self._waiting and len(self._holders) < self._turns:
            arrival = next(iter(self._waiting))
            if monotonic() - arrival.since >= TURN_CHECK_S and not arrival.will_use_a_turn():
                self._set_beside(arrival)
            else:
                self._waited(arrival)
                self._give_turn(arrival)
                arrival.go_on()

    def _check_turns(self) -> None:
        now = monotonic()
        for arrival in list(self._holders):
            if arrival not in self.arriving or now - arrival.since < TURN_CHECK_S * 0.9:
                continue  # it is being worked on, or has just got its turn
            if arrival.received - arrival.marked < TURN_BYTES:
                arrival.turn, arrival.beside = False, True
                del self._holders[arrival]
                arrival.lost_turn()
            arrival.since, arrival.marked = now, arrival.received
        for arrival in list(self._waiting):
            if arrival not in self._waiting:  # it got its turn because another body was refused
                continue
            if now - arrival.since > TURN_WAIT_S:
                message = f"this large body waited {TURN_WAIT_S:.0f} s for its turn; try again later"
                arrival.refuse(RefusedError("queue", "UNAVAILABLE", message))
            elif now - arrival.since >= TURN_CHECK_S and not arrival.will_use_a_turn():
                self._set_beside(arrival)
        self._grant()
        again = asyncio.get_running_loop().call_later(TURN_CHECK_S, self._check_turns) if self._waiting else None
        self._turn_timer = again

    def _check_rates(self) -> None:
        now = monotonic()
        for arrival in [each for each in self.arriving if each not in self._waiting]:
            age = now - arrival.began
            if now - arrival.moved > IDLE_S:
                words = f"no byte of the body came for {IDLE_S:.0f} s"
            elif age > GRACE_S and arrival.received < age * MIN_BYTES_PER_S:
                words = (
                    f"{arrival.received} bytes of the body came in {age:.0f} s, less than {MIN_BYTES_PER_S} a second"
                )
            else:
                continue
            arrival.refuse(RefusedError("slow", "REQUEST_TIMEOUT", f"{words}; send it faster, or in smaller batches"))
        again = asyncio.get_running_loop().call_later(CHECK_S, self._check_rates) if self.arriving else None
        self._timer = again
