"""What is known about the entities of a request: from memory, a near store and a database, within a deadline."""

from __future__ import annotations

import threading
import time

from function.features.threads import Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from function.features.memory import Memory
    from function.features.tier import Tier
    from function.features.view import Row, View

    Wanted = tuple[View, bytes]

_THREADS = 32  # that may wait for stores at once; what exceeds them is answered as if the stores were down


class Outcome:
    """What a lookup knows about one entity: `row`, None for nothing, and `source`, where it was found.

    `source`: "memory", a tier's name, "last" for an old row while the stores fail, or "failed" for nobody answered.
    """

    __slots__ = ("row", "source")

    def __init__(self, row: Row | None, source: str) -> None:
        self.row, self.source = row, source


class _Batch:
    """What one request asks the tiers for at once. When a tier has answered, `step` is set, and replaced."""

    __slots__ = ("asking", "flights", "late", "step")

    def __init__(self) -> None:
        self.flights: list[_Flight] = []
        self.asking: Tier | None = None
        self.step = threading.Event()  # one for all its entities: they cost 2 us each
        self.late = False  # somebody has waited in vain: one failure of the tier, however many entities there are

    def stepped(self) -> None:
        """Wakes all who wait, after the entities that a tier knows have been marked as done."""
        before, self.step = self.step, threading.Event()
        before.set()


class _Flight:
    """One entity that is being asked for; any number of requests wait for the same one."""

    __slots__ = ("batch", "done", "key", "outcome", "view")

    def __init__(self, view: View, key: bytes, batch: _Batch) -> None:
        self.view, self.key, self.batch = view, key, batch
        self.done = False
        self.outcome = Outcome(None, "failed")


class Lookup:
    """The tiers of one process. `tiers` are asked in their order for what the ones before do not have."""

    def __init__(
        self, memory: Memory, tiers: Sequence[Tier], deadline_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory, self._tiers, self._deadline_s, self._clock = memory, tiers, deadline_s, clock
        self._flights: dict[tuple[str, bytes], _Flight] = {}
        self._lock = threading.Lock()
        self._threads = Threads(_THREADS)

    def rows(self, wanted: Sequence[Wanted]) -> list[Outcome]:
        """An outcome for each (view, entity key), within the deadline. Never raises.

        A row in memory is believed for its view's max_age; past half of that it is read anew while it still serves.
        """
        end = self._clock() + self._deadline_s
        known: dict[int, Outcome] = {}
        flights: dict[int, _Flight] = {}
        opened = _Batch()
        for index, (view, key) in enumerate(wanted):
            entry = self._memory.get(view, key)
            age = entry[1] if entry else 0.0
            if entry and (not view.max_age or age < view.max_age or not self._tiers):
                known[index] = Outcome(entry[0].row, "memory")
                if self._tiers and view.max_age and age > view.max_age / 2:
                    self._flight(view, key, opened)
            elif self._tiers:
                flights[index] = self._flight(view, key, opened)
            else:
                known[index] = Outcome(None, "memory")
        if opened.flights:
            self._start(opened)
        for index, flight in flights.items():
            known[index] = self._waited(flight, end)
        return [known[index] for index in range(len(wanted))]

    def connect(self) -> None:
        """Opens a connection to each tier; one that cannot be had counts as a failure of the tier."""
        for tier in self._tiers:
            try:
                tier.store.connect()
            except Exception as error:  # noqa: BLE001  (whatever a store does, the process begins)
                tier.failed(type(error).__name__)

    def write(self, rows: Sequence[tuple[View, bytes, Row]]) -> None:
        """Writes new rows to the nearest store, then to memory; raises what the store raises."""
        if self._tiers:
            self._tiers[0].store.write(rows)
        for view, key, row in rows:
            self._memory.put(view, key, row)

    def resting(self) -> list[str]:
        """The names of the tiers whose breaker is open."""
        return [tier.name for tier in self._tiers if tier.resting()]

    def _flight(self, view: View, key: bytes, opened: _Batch) -> _Flight:
        place = (view.scope, key)
        with self._lock:
            flight = self._flights.get(place)
            if flight is None:
                flight = _Flight(view, key, opened)
                entry = self._memory.get(view, key)
                if entry and (not view.max_age or entry[1] < view.max_age / 2):  # another flight has just landed
                    flight.outcome, flight.done = Outcome(entry[0].row, "memory"), True
                else:
                    self._flights[place] = flight
                    opened.flights.append(flight)
        return flight

    def _waited(self, flight: _Flight, end: float) -> Outcome:
        batch, waiting = flight.batch, True
        while waiting:
            step = batch.step  # read before `done`, which is set before `step` is
            waiting = not flight.done and step.wait(max(0.0, end - self._clock()))
        if not flight.done and (tier := batch.asking) and not batch.late:
            batch.late = True
            tier.failed(f"no answer within {self._deadline_s * 1000:.0f} ms")
        outcome = flight.outcome
        if outcome.source == "failed" and (entry := self._memory.get(flight.view, flight.key)):
            return Outcome(entry[0].row, "last")
        return outcome

    def _start(self, batch: _Batch) -> None:
        """On another thread: a lookup goes on past the deadline of the request, and then serves the next one."""
        if all(tier.rests() for tier in self._tiers) or not self._threads.start(lambda: self._fetch(batch)):
            self._land(batch)

    def _fetch(self, batch: _Batch) -> None:
        found: list[tuple[int, list[tuple[View, bytes, Row]]]] = []
        try:
            self._ask(batch, found)
        finally:
            self._land(batch)  # nobody waits for what is written up
            for depth, rows in found:
                self._write_up(rows, depth)

    def _ask(self, batch: _Batch, found: list[tuple[int, list[tuple[View, bytes, Row]]]]) -> None:
        """Asks tier after tier; `found` gets, for each, its depth and the rows that it had."""
        left, failed = batch.flights, False
        for depth, tier in enumerate(self._tiers):
            if not tier.available():
                failed = True
                continue
            batch.asking = tier
            try:
                rows = tier.store.read([(flight.view, flight.key) for flight in left])
            except Exception as error:  # noqa: BLE001  (whatever a store does, the request goes on)
                tier.failed(type(error).__name__)
                failed = True
                continue
            if not batch.late:  # an answer past the deadline is none
                tier.succeeded()
            rows_found: list[tuple[View, bytes, Row]] = []
            found.append((depth, rows_found))
            for flight, row in zip(left, rows, strict=True):
                if row is not None and not row.missing():
                    if row.unreadable and (entry := self._memory.get(flight.view, flight.key)) and entry[0].row:
                        row = row.with_last(entry[0].row)  # noqa: PLW2901
                    self._memory.put(flight.view, flight.key, row)
                    flight.outcome, flight.done = Outcome(row, tier.name), True
                    if not row.unreadable:  # in a nearer store the gap would be a null, and stay when it is mended
                        rows_found.append((flight.view, flight.key, row))
            left = [flight for flight in left if not flight.done]
            if not left:
                return
            batch.stepped()
        for flight in left:
            if not failed:  # every tier has said that it does not know this entity
                self._memory.put(flight.view, flight.key, None)
                flight.outcome = Outcome(None, self._tiers[-1].name)

    def _write_up(self, rows: list[tuple[View, bytes, Row]], depth: int) -> None:
        for tier in self._tiers[:depth] if rows else ():
            try:
                if tier.available():
                    tier.store.write(rows)
            except Exception as error:  # noqa: BLE001  (a store that cannot keep a copy)
                tier.failed(type(error).__name__)

    def _land(self, batch: _Batch) -> None:
        with self._lock:
            for flight in batch.flights:
                self._flights.pop((flight.view.scope, flight.key), None)
        for flight in batch.flights:
            flight.done = True
        batch.stepped()
