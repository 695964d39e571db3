"""The tiers of entity features, with stores that count, stall and fail on purpose."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from function.features import threads
from function.features.lookup import Lookup, _Batch
from function.features.memory import Memory
from function.features.tier import COOLDOWN_S, FAILURE_THRESHOLD, Tier
from function.features.view import Row, View

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = 30.0  # seconds that no test waits for unless something hangs
SHORT = 0.05


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Rows by entity key; `gate`, when it is set to wait, holds every read; `error` is raised instead of an answer."""

    def __init__(self, rows: dict[bytes, Row] | None = None) -> None:
        self.rows, self.reads = rows or {}, list[list[bytes]]()
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def connect(self) -> None:
        """Nothing to connect to."""

    def read(self, wanted: Sequence[tuple[View, bytes]]) -> list[Row | None]:
        self.reads.append([key for _, key in wanted])
        assert self.gate.wait(LONG)
        if self.error:
            raise self.error
        return [self.rows.get(key) for _, key in wanted]

    def write(self, rows: Sequence[tuple[View, bytes, Row]]) -> None:
        if self.error:
            raise self.error
        self.rows.update((key, row) for _, key, row in rows)


def view(max_age: float = 60, *names: str) -> View:
    document: dict[str, Any] = {"view": "card_stats", "project": "fraud", "max_age": max_age}
    document["entity"] = [{"name": "card_id", "datatype": "BYTES"}]
    document["columns"] = [{"name": name, "datatype": "FP32"} for name in names or ["mean"]]
    return View(document)


def row(value: float) -> Row:
    return Row(1.0, {"mean": value})


def lookup(*stores: Store, deadline_s: float = LONG, clock: Clock | None = None, capacity: int = 10**6) -> Lookup:
    clock = clock or Clock()
    tiers = [Tier(name, store, clock) for name, store in zip(("store", "database"), stores, strict=False)]
    return Lookup(Memory(capacity, clock), tiers, deadline_s, clock)


def seen(found: Lookup, *keys: bytes, of: View | None = None) -> list[tuple[Any, str]]:
    outcomes = found.rows([(of or view(), key) for key in keys])
    return [(each.row.values["mean"] if each.row else None, each.source) for each in outcomes]


def test_each_tier_is_asked_once_for_what_those_before_do_not_have() -> None:
    near, far = Store({b"a": row(1)}), Store({b"b": row(2)})
    tiers = lookup(near, far)
    assert seen(tiers, b"a", b"b", b"c", b"a") == [(1, "store"), (2, "database"), (None, "database"), (1, "store")]
    assert near.reads == [[b"a", b"b", b"c"]]
    assert far.reads == [[b"b", b"c"]]
    assert seen(tiers, b"a", b"b", b"c") == [(1, "memory"), (2, "memory"), (None, "memory")]
    assert len(near.reads) == len(far.reads) == 1


def test_what_the_database_gave_is_written_up() -> None:
    near, far = Store(), Store({b"a": row(1)})
    seen(lookup(near, far), b"a")
    for _ in range(1000):
        if b"a" in near.rows:
            break
        threading.Event().wait(0.01)
    assert near.rows[b"a"].values == {"mean": 1}


def test_a_row_that_cannot_be_read_whole_is_not_written_up() -> None:
    near, far = Store(), Store({b"a": Row(1.0, {}, {"mean": None}), b"b": row(2)})
    tiers = lookup(near, far)
    (damaged, _) = tiers.rows([(view(), b"a"), (view(), b"b")])
    assert damaged.row
    assert (damaged.source, list(damaged.row.unreadable)) == ("database", ["mean"])
    for _ in range(1000):
        if b"b" in near.rows:
            break
        threading.Event().wait(0.01)
    assert list(near.rows) == [b"b"]


def test_a_thousand_requests_for_one_cold_key_are_one_read() -> None:
    store = Store({b"a": row(1)})
    store.gate.clear()
    tiers = lookup(store)
    answers: list[tuple[Any, str]] = []
    asking = [threading.Thread(target=lambda: answers.extend(seen(tiers, b"a"))) for _ in range(1000)]
    for thread in asking:
        thread.start()
    store.gate.set()
    for thread in asking:
        thread.join()
    assert {value for value, _ in answers} == {1}
    assert len(answers) == 1000
    assert store.reads == [[b"a"]]


def test_a_row_past_half_its_age_serves_while_it_is_read_anew() -> None:
    clock, store = Clock(), Store({b"a": row(1)})
    tiers = lookup(store, clock=clock)
    assert seen(tiers, b"a") == [(1, "store")]
    store.rows[b"a"] = row(2)
    clock.now += 40
    assert seen(tiers, b"a") == [(1, "memory")]
    for _ in range(1000):
        if seen(tiers, b"a") == [(2, "memory")]:
            break
        threading.Event().wait(0.01)
    assert len(store.reads) == 2


def test_a_row_beyond_its_age_is_not_believed() -> None:
    clock, store = Clock(), Store({b"a": row(1)})
    tiers = lookup(store, clock=clock)
    seen(tiers, b"a")
    store.rows[b"a"] = row(2)
    clock.now += 61
    assert seen(tiers, b"a") == [(2, "store")]


def test_without_a_store_memory_is_all_there_is() -> None:
    memory = Memory(10**6)
    memory.put(view(), b"a", row(1))
    assert seen(Lookup(memory, [], LONG), b"a", b"b") == [(1, "memory"), (None, "memory")]


def test_past_the_deadline_nobody_waits_and_the_late_answer_serves_the_next() -> None:
    store = Store({b"a": row(1)})
    store.gate.clear()
    tiers = lookup(store, deadline_s=SHORT)
    wall = Lookup(tiers._memory, tiers._tiers, SHORT)
    assert seen(wall, b"a") == [(None, "failed")]
    store.gate.set()
    for _ in range(1000):
        if seen(wall, b"a")[0][0] == 1:
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("the late answer was lost")


def test_a_late_batch_is_one_failure_however_many_entities_it_has() -> None:
    store = Store()
    store.gate.clear()
    tiers = Lookup(Memory(10**6), [Tier("store", store)], SHORT)
    assert {source for _, source in seen(tiers, *(b"%d" % number for number in range(20)))} == {"failed"}
    assert tiers.resting() == []
    store.gate.set()


def test_a_tier_whose_answers_are_all_late_rests() -> None:
    """A late answer does not make up for the wait."""
    store = Store()
    tiers = Lookup(Memory(10**6), [Tier("store", store)], SHORT)
    for number in range(FAILURE_THRESHOLD):
        store.gate.clear()
        assert seen(tiers, b"%d" % number) == [(None, "failed")]
        store.gate.set()
        for _ in range(1000):
            if not tiers._flights:
                break
            threading.Event().wait(0.01)
    assert tiers.resting() == ["store"]


def test_an_old_row_is_told_as_the_last_known_one_when_the_store_fails() -> None:
    clock, store = Clock(), Store({b"a": row(1)})
    tiers = lookup(store, clock=clock)
    seen(tiers, b"a")
    clock.now += 1000
    store.error = ConnectionError()
    assert seen(tiers, b"a", b"b") == [(1, "last"), (None, "failed")]


def test_an_entity_is_not_taken_for_unknown_while_a_tier_fails() -> None:
    near, far = Store(), Store()
    near.error = ConnectionError()
    tiers = lookup(near, far)
    assert seen(tiers, b"a") == [(None, "failed")]
    near.error, near.rows[b"a"] = None, row(1)
    assert seen(tiers, b"a") == [(1, "store")]


def test_a_dead_tier_rests_and_is_tried_again() -> None:
    clock, store = Clock(), Store()
    store.error = ConnectionError()
    tiers = lookup(store, clock=clock)
    for number in range(10):
        seen(tiers, b"%d" % number)
    assert len(store.reads) == FAILURE_THRESHOLD
    assert tiers.resting() == ["store"]
    clock.now += COOLDOWN_S
    seen(tiers, b"x")
    seen(tiers, b"y")
    assert len(store.reads) == FAILURE_THRESHOLD + 1
    clock.now += COOLDOWN_S
    store.error = None
    assert seen(tiers, b"z") == [(None, "store")]
    assert tiers.resting() == []


def test_memory_keeps_to_its_bytes() -> None:
    memory = Memory(100_000)
    for number in range(1000):
        memory.put(view(), b"%d" % number, row(number))
        assert memory.used <= 100_000
    assert memory.get(view(), b"0") is None
    assert memory.get(view(), b"999")


def test_a_write_reaches_the_store_and_memory() -> None:
    store = Store()
    tiers = lookup(store)
    tiers.write([(view(), b"a", row(5))])
    assert store.rows[b"a"].values == {"mean": 5}
    assert seen(tiers, b"a") == [(5, "memory")]
    store.error = ConnectionError()
    with pytest.raises(ConnectionError):
        tiers.write([(view(), b"a", row(6))])
    assert seen(tiers, b"a") == [(5, "memory")]


def test_a_view_without_an_age_is_not_read_again_for_a_request_that_came_too_late_for_the_flight() -> None:
    """The row has landed between that request's look into memory and its own flight."""
    store = Store({b"a": row(1)})
    tiers = lookup(store)
    seen(tiers, b"a", of=view(0))
    opened = _Batch()
    assert tiers._flight(view(0), b"a", opened).outcome.source == "memory"
    assert not opened.flights
    assert len(store.reads) == 1


def test_two_models_may_name_different_columns_of_one_view() -> None:
    """A row in memory has the columns of whoever asked for it."""
    store = Store({b"a": row(1)})
    tiers = lookup(store)
    assert seen(tiers, b"a") == [(1, "store")]
    assert seen(tiers, b"a", of=view(60, "mean", "total")) == [(1, "store")]
    assert seen(tiers, b"a", of=view(60, "mean", "total")) == [(1, "memory")]


def awaited(reads: list[list[bytes]]) -> None:
    for _ in range(1000):
        if reads:
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody asked")


def test_whoever_waits_for_an_entity_that_a_near_tier_knows_does_not_wait_for_the_others() -> None:
    """Of one batch: the near store has `a`, and the database takes its time over `b`."""
    near, far = Store({b"a": row(1)}), Store({b"b": row(2)})
    near.gate.clear()
    far.gate.clear()
    tiers = lookup(near, far)
    both: list[tuple[Any, str]] = []
    one: list[tuple[Any, str]] = []
    asking = threading.Thread(target=lambda: both.extend(seen(tiers, b"a", b"b")))
    asking.start()
    awaited(near.reads)
    joining = threading.Thread(target=lambda: one.extend(seen(tiers, b"a")))
    joining.start()
    near.gate.set()
    awaited(far.reads)
    joining.join(LONG)
    assert one[0][0] == 1
    assert not both
    far.gate.set()
    asking.join(LONG)
    assert both == [(1, "store"), (2, "database")]
    assert near.reads == [[b"a", b"b"]]


def test_while_all_tiers_rest_no_thread_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = Clock(), Store()
    store.error = OSError()
    tiers = lookup(store, clock=clock)
    for number in range(FAILURE_THRESHOLD):
        assert seen(tiers, b"%d" % number) == [(None, "failed")]
    calls: list[Any] = []
    monkeypatch.setattr(tiers._threads, "start", calls.append)
    assert seen(tiers, b"a") == [(None, "failed")]
    assert calls == []
    clock.now += COOLDOWN_S
    seen(tiers, b"a")
    assert len(calls) == 1


def test_threads_are_kept_bounded_and_end_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_KEPT_S", SHORT)
    gate, ran = threading.Event(), threading.Semaphore(0)

    def call() -> None:
        ran.release()
        assert gate.wait(LONG)

    pool = threads.Threads(2)
    assert pool.start(call)
    assert pool.start(call)
    assert all(ran.acquire(timeout=LONG) for _ in range(2))
    assert not pool.start(call)
    gate.set()
    for _ in range(1000):
        if not pool._count:
            break
        threading.Event().wait(0.01)
    assert (pool._count, pool._taken) == (0, 0)
    assert pool.start(call)
    assert ran.acquire(timeout=LONG)


def test_where_no_thread_can_be_had_the_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    tiers = lookup(Store({b"a": row(1)}))
    assert seen(tiers, b"a") == [(None, "failed")]
