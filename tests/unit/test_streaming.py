"""The chunks of an answer that streams: bounds, what is closed and logged, and the time that Lambda leaves."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from function.errors import PredictError
from function.events import streaming
from function.exchange import Exchange
from function.messages import Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator


def exchange_of(chunks: Any, body: bytes = b"") -> Exchange:
    exchange = Exchange(Request("POST", "/", {}, {}, b""))
    exchange.response = Response(200, {}, body)
    exchange.response.chunks = chunks
    return exchange


def code_of(chunks: Iterator[bytes]) -> str:
    with pytest.raises(PredictError) as raised:
        next(chunks)
    return raised.value.code


def test_a_body_leaves_in_pieces_without_a_copy() -> None:
    body = bytes(range(256)) * 5000
    pieces: list[Any] = list(streaming.Chunks(exchange_of(None, body)))
    assert b"".join(pieces) == body
    assert {piece.obj is body for piece in pieces} == {True}
    assert len(pieces) == 5
    assert list(streaming.Chunks(exchange_of(None))) == []


def test_more_than_the_limit_ends_it() -> None:
    chunks = streaming.Chunks(exchange_of(iter([b"ab", b"c", b"d"])), limit=3)
    assert (next(chunks), next(chunks)) == (b"ab", b"c")
    assert code_of(chunks) == "PAYLOAD_TOO_LARGE"


def test_gathering_too_much_is_an_answer_of_its_own() -> None:
    exchange = exchange_of(iter([b"ab", b"cd"]))
    streaming.gather(exchange, 3)
    assert (exchange.response.status, exchange.response.chunks, exchange.bytes_out) == (413, None, 0)
    exchange = exchange_of(iter([b"ab", b"", b"c"]))
    streaming.gather(exchange, 3)
    assert (exchange.response.status, exchange.response.body, exchange.response.chunks) == (200, b"abc", None)


def test_what_cannot_be_closed_is_a_defect_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    class Stubborn:
        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            raise StopIteration

        def close(self) -> None:
            raise OSError("no luck")

    streaming.Chunks(exchange_of(Stubborn())).close()
    assert "no luck" in capsys.readouterr().err


def test_a_late_first_chunk_of_a_body_still_leaves() -> None:
    exchange = exchange_of(None, bytes(streaming._PIECE + 1))
    exchange.deadline = time.perf_counter() - 1
    chunks = streaming.Chunks(exchange)
    assert len(next(chunks)) == streaming._PIECE
    assert code_of(chunks) == "DEADLINE_EXCEEDED"
    chunks.close()


def test_the_alarm_is_put_off_while_a_chunk_is_on_its_way() -> None:
    exchange = exchange_of(itertools.repeat(b"a"))
    exchange.deadline = time.perf_counter() - streaming._YIELD
    with closing(streaming.Chunks(exchange)) as chunks:
        assert next(chunks) == b"a"
        time.sleep(2 * streaming._GRACE)  # it comes in here
        assert code_of(chunks) == "DEADLINE_EXCEEDED"


def test_a_source_that_takes_the_alarm_for_its_own_failure_is_ended_after_that_chunk() -> None:
    def stubborn() -> Iterator[bytes]:
        while True:
            try:
                time.sleep(100)
            except PredictError:
                yield b"a"

    exchange = exchange_of(stubborn())
    exchange.deadline = time.perf_counter() - streaming._YIELD
    with closing(streaming.Chunks(exchange)) as chunks:
        assert next(chunks) == b"a"
        assert code_of(chunks) == "DEADLINE_EXCEEDED"


def test_the_alarm_is_off_and_as_before_once_it_is_closed() -> None:
    before = signal.getsignal(signal.SIGALRM)
    exchange = exchange_of(iter([b"a"]))
    exchange.deadline = time.perf_counter() + 100
    chunks = streaming.Chunks(exchange)
    assert list(chunks) == [b"a"]
    assert signal.getitimer(signal.ITIMER_REAL) > (0, 0)
    chunks.close()
    chunks.close()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_another_thread_has_the_deadline_between_chunks() -> None:
    exchange = exchange_of(iter([b"a", b"b"]))
    exchange.deadline = time.perf_counter() + 100
    found: list[object] = []

    def run() -> None:
        chunks = streaming.Chunks(exchange)
        found.append(next(chunks))
        exchange.deadline = time.perf_counter() - 1
        found.append(code_of(chunks))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [b"a", "DEADLINE_EXCEEDED"]
