"""Who may bring a large body, who waits for memory, and who goes when there is none: without sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from function.errors import PredictError
from function.limits import LIMITS, MIB
from function.server.bodies import read
from function.server.intake import TURN_WAIT_S, Intake

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from function.server.arrival import Arrival


@pytest.fixture(autouse=True)
def rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of 512 MiB."""
    for name, size in (("largest_body", 32), ("bodies", 64), ("turns", 48)):
        monkeypatch.setattr(LIMITS, name, size * MIB)


def in_a_loop(test: Callable[[Intake], None]) -> None:
    async def run() -> None:
        test(Intake(4, 64))

    asyncio.run(run())


def asked(intake: Intake, length: int | None) -> tuple[Arrival, list[str], bool]:
    """An arrival that has asked for its turn, what it was told since, and whether it got it at once."""
    arrival, told = intake.open(length, lambda: 1 << 20), list[str]()
    return arrival, told, arrival.ask(lambda: told.append("go on"))


def test_large_bodies_wait_until_there_is_memory_for_all_of_them() -> None:
    def test(intake: Intake) -> None:
        first, _, at_once = asked(intake, 32 * MIB)
        assert at_once
        second, told, at_once = asked(intake, 32 * MIB)  # there are places, but 64 MiB are more than the 48 for turns
        assert not at_once
        third, told_third, at_once = asked(intake, 16 * MIB)  # whoever asks first is served first
        assert not at_once
        first.close()
        assert (told, told_third) == (["go on"], ["go on"])
        assert intake._held == 48 * MIB
        second.close()
        third.close()
        assert intake._held == intake._in_turns == 0

    in_a_loop(test)


def test_a_length_that_is_not_declared_counts_as_the_largest() -> None:
    def test(intake: Intake) -> None:
        assert asked(intake, None)[2]
        assert not asked(intake, None)[2]
        assert intake._held == 32 * MIB

    in_a_loop(test)


def test_what_has_come_is_not_counted_beside_what_will_come() -> None:
    def test(intake: Intake) -> None:
        arrival, _, _ = asked(intake, 10 * MIB)
        arrival.hold(3 * MIB)
        arrival.hold(7 * MIB)
        assert intake._held == intake._in_turns == 10 * MIB
        arrival.hold(MIB)  # more than was declared, for a moment
        assert intake._held == 11 * MIB

    in_a_loop(test)


def test_a_small_body_that_has_just_begun_is_not_the_slowest() -> None:
    def test(intake: Intake) -> None:
        large, _, _ = asked(intake, 32 * MIB)
        large.came(32 * MIB)
        beside = intake.open(32 * MIB, None)
        beside.beside = True
        honest = intake.open(300_000, None)
        honest.hold(100_000)
        honest.came(100_000)
        beside.came(32 * MIB)
        beside.hold(32 * MIB)
        assert honest.refusal is large.refusal is None
        assert beside.refusal is not None
        assert beside.refusal.reason == "memory"
        assert beside.refusal.status == 503

    in_a_loop(test)


def test_whoever_has_held_most_for_longest_goes() -> None:
    def test(intake: Intake) -> None:
        slow, large, honest, last = (intake.open(32 * MIB, None) for _ in range(4))
        for arrival, size, seconds in ((slow, MIB, 20), (large, 30 * MIB, 2), (honest, MIB, 2)):
            arrival.began -= seconds
            arrival.came(size)
            arrival.hold(size)
        last.hold(33 * MIB)
        assert large.refusal is not None
        last.hold(29 * MIB)  # all of them there is
        assert not any(each.refusal for each in (slow, honest, last))
        last.hold(MIB)
        assert [bool(each.refusal) for each in (slow, honest, last)] == [True, False, False]

    in_a_loop(test)


def test_slow_bodies_make_way_for_one_that_waits() -> None:
    async def run() -> None:
        intake = Intake(4, 64)
        opened: asyncio.Future[Arrival] = asyncio.get_running_loop().create_future()

        async def sent_slowly() -> None:
            opened.set_result(intake.open(60 * MIB, None))
            await asyncio.Event().wait()

        sender = asyncio.create_task(sent_slowly())  # the refusal cancels the task that reads the body
        slow = await opened
        slow.began -= 5
        slow.hold(60 * MIB)
        gone = asyncio.Event()
        arrival = intake.open(10 * MIB, lambda: 1 << 20)
        assert not arrival.ask(gone.set)
        await asyncio.wait_for(gone.wait(), TURN_WAIT_S / 2)
        assert slow.refusal is not None
        assert arrival.turn
        with pytest.raises(asyncio.CancelledError):
            await sender

    asyncio.run(run())


def test_chunks_become_one_body_without_a_second_copy() -> None:
    chunks = [bytes([number]) * 100_000 for number in range(30)]

    async def run(count: int) -> bytes | bytearray:
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks[:count]]
        messages[-1]["more_body"] = False

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        return await read(Intake(4, 64).open(None, None), receive, None)

    assert asyncio.run(run(1)) is chunks[0]
    small, large = asyncio.run(run(3)), asyncio.run(run(30))
    assert (small, large) == (b"".join(chunks[:3]), b"".join(chunks))
    assert (type(small), type(large)) == (bytes, bytearray)


def test_a_body_that_has_come_is_not_refused_for_others() -> None:
    def test(intake: Intake) -> None:
        whole, late = intake.open(64 * MIB, None), intake.open(10, None)
        whole.hold(64 * MIB)
        whole.complete()
        late.hold(10)
        assert whole.refusal is None
        with pytest.raises(PredictError, match="try again in a second"):
            late.check()

    in_a_loop(test)
