"""Bodies on their way in: how much memory they take together, how slow a sender may be, whose turn a large one is.

A body takes no place in the queue while it comes, so that a slow sender keeps no one from working. Large bodies are
received in turns, two for each thread, one being worked on and one being received, as far as there is memory for all
that they will bring: the others wait in their senders' sockets, where they take no memory of ours. Whoever does not use
its turn loses it, and goes on beside the others.
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
YOUNG_S = 1.0  # so long, a body makes way for no other


class Intake:
    """All bodies of a server. Belongs to its event loop."""

    def __init__(self, turns: int, waiting: int) -> None:
        """`turns` large bodies are received or worked on at a time, at most `waiting` wait for a turn."""
        self._turns, self._most_waiting = turns, waiting
        self._held = self._in_turns = 0  # bytes: of all bodies, of those that have a turn
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

    def hold(self, arrival: Arrival, count: int) -> None:
        self._held += count
        self._in_turns += count if arrival.turn else 0
        while self._held > LIMITS.bodies and self._refuse_slowest(monotonic()):
            pass

    def _refuse_slowest(self, now: float, *, young: bool = True) -> bool:
        """The one that has held most for longest, first of those without a turn. False when there is none: whole bodies
        are not refused. By its rate alone, an honest small body on a busy machine would go before large ones.
        """
        holding = [arrival for arrival in self.arriving if arrival.held and not arrival.turn]
        if young:
            holding = holding or [arrival for arrival in self.arriving if arrival.held]
        else:
            holding = [arrival for arrival in holding if now - arrival.began > YOUNG_S]
        if not holding:
            return False
        message = f"bodies take all {LIMITS.bodies} bytes there are for them, and this one came slowest for its size"
        refusal = RefusedError("memory", "UNAVAILABLE", f"{message}; try again in a second")
        max(holding, key=lambda arrival: arrival.held * (now - arrival.began)).refuse(refusal)
        return True

    def release(self, arrival: Arrival) -> None:
        self._end_turn(arrival)
        self._held -= arrival.held
        arrival.held = arrival.used = arrival.reserved = 0
        self._waiting.pop(arrival, None)
        self._grant()

    def _end_turn(self, arrival: Arrival) -> None:
        if arrival.turn:
            arrival.turn = False
            self._in_turns -= arrival.held
            del self._holders[arrival]

    def ask(self, arrival: Arrival) -> bool:
        if arrival.may_go_on():
            return True
        if not self._waiting and self._may_have_turn(arrival) and self._has_room(arrival):
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

    def _may_have_turn(self, arrival: Arrival) -> bool:
        return len(self._holders) < self._turns and self._in_turns + arrival.whole() <= LIMITS.turns

    def _has_room(self, arrival: Arrival) -> bool:
        return self._held - arrival.held + arrival.whole() <= LIMITS.bodies

    def _give_turn(self, arrival: Arrival) -> None:
        arrival.turn, arrival.since, arrival.marked = True, monotonic(), arrival.received
        self._holders[arrival] = None
        self._in_turns += arrival.held
        arrival.reserve(arrival.whole())

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
            if not (self._may_have_turn(arrival) and self._has_room(arrival)):
                return
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
                self._end_turn(arrival)
                arrival.beside = True
                arrival.reserve(0)
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
        first = next(iter(self._waiting), None)
        if first is not None and self._may_have_turn(first):  # what slow senders hold is in its way
            self._refuse_slowest(now, young=False)
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
