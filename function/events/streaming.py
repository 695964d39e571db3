"""Answers that stream: the first chunk comes before the status, the end before Lambda's, the line of log after both."""

from __future__ import annotations

import threading
import time

from function.errors import PredictError
from function.events.http_response import StreamingAnswer
from function.messages import defect_response, error_response
from function.native import cjson
from function.observability import telemetry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from signal import ITIMER_REAL, SIGALRM, setitimer, signal
    from typing import Any

    from function.exchange import Exchange
    from function.settings import Settings
else:
    from _signal import ITIMER_REAL, SIGALRM, setitimer, signal  # `signal` itself costs 1.3 ms, for `enum`

LIMIT = 200 * 1024 * 1024  # bytes that Lambda lets out by a stream
_PIECE = 256 * 1024  # bytes of a body that is in memory as a whole
_YIELD = 0.1  # seconds past the exchange's deadline, in which a source that knows it may end in its own form
_GRACE = 0.05  # seconds that there are whatever the deadline


class Chunks:
    """What is not empty of a response's chunks, or its body in pieces without a copy. Whoever has it closes it.

    `next` raises what they raise, and PredictError: DEADLINE_EXCEEDED in place of a chunk that has not come by the
    exchange's deadline, PAYLOAD_TOO_LARGE beyond `limit` bytes.
    """

    def __init__(self, exchange: Exchange, limit: int = LIMIT) -> None:
        chunks: Any = exchange.response.chunks
        self._source: Iterator[bytes] = _pieces(exchange.response.body) if chunks is None else iter(chunks)
        self._exchange, self._limit = exchange, limit
        self._first = b""
        self._failure: PredictError | None = PredictError("UNAVAILABLE", "Lambda took no more of the answer")
        self._alarm = _Alarm(self.left())
        self.settings: Settings | None = None  # with which `close` writes the line of log

    def begin(self) -> None:
        """Waits for the first chunk, which `next` then has."""
        self._first = next(self, b"")

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> bytes:
        if self._first:
            chunk, self._first = self._first, b""
            return chunk
        try:
            return self._wait()
        except StopIteration:
            self._failure = None
            raise
        except PredictError as error:
            self._failure = error
            raise
        except Exception as error:
            self._failure = PredictError("INTERNAL", f"the answer broke off: {error!r}")
            raise

    def _wait(self) -> bytes:
        exchange, chunk = self._exchange, b""
        if exchange.bytes_out and exchange.deadline is not None and time.perf_counter() > exchange.deadline + _YIELD:
            raise _late()
        self._alarm.waiting = True
        try:
            while not chunk:
                chunk = next(self._source)
        finally:
            self._alarm.waiting = False
        exchange.bytes_out += len(chunk)
        if exchange.bytes_out > self._limit:
            message = f"the answer has more than the {self._limit >> 20} MiB that can leave; ask for less at a time"
            raise PredictError("PAYLOAD_TOO_LARGE", message)
        return chunk

    def left(self) -> float | None:
        """Seconds until the deadline, at least a moment; None without one."""
        deadline = self._exchange.deadline
        return None if deadline is None else max(deadline + _YIELD - time.perf_counter(), _GRACE)

    def close(self) -> None:
        """Closes what the chunks come from, and with `settings` tells the log how it ended."""
        self._alarm.off()
        close = getattr(self._source, "close", None)
        try:
            if close is not None:
                close()
        except Exception:  # noqa: BLE001  (a defect: its trace is for the log)
            defect_response()
        if self.settings is not None:
            failure = self._failure
            self._exchange.response.error = failure or self._exchange.response.error
            telemetry.report(self.settings, self._exchange, failure.status if failure else None)


def begin(exchange: Exchange) -> None:
    """Waits for the response's first chunk; what fails until then becomes an ordinary answer."""
    chunks = Chunks(exchange)
    try:
        chunks.begin()
    except Exception as error:  # noqa: BLE001  (of whatever the chunks come from)
        exchange.response = error_response(error) if isinstance(error, PredictError) else defect_response()
        chunks.close()
        exchange.bytes_out = 0
        chunks = Chunks(exchange)
    exchange.response.chunks = chunks


def gather(exchange: Exchange, limit: int) -> None:
    """Makes the response's chunks, `limit` bytes at most, its body: for those who cannot take them as they come."""
    chunks = Chunks(exchange, limit)
    try:
        exchange.response.body = b"".join(chunks)
    except Exception as error:  # noqa: BLE001  (as above)
        exchange.response = error_response(error) if isinstance(error, PredictError) else defect_response()
    finally:
        chunks.close()
    exchange.response.chunks, exchange.bytes_out = None, 0


def answer(settings: Settings, exchange: Exchange) -> StreamingAnswer:
    """The response, begun, for the runtime client. The line of log comes when its chunks are closed."""
    response = exchange.response
    head = {"statusCode": response.status, "headers": response.headers, "cookies": []}
    chunks: Any = response.chunks
    chunks.settings = settings
    return StreamingAnswer(cjson.dumps(head).encode(), chunks)


def _pieces(body: bytes) -> Iterator[bytes]:
    view: Any = memoryview(body)
    return (view[at : at + _PIECE] for at in range(0, len(body), _PIECE))


def _late() -> PredictError:
    return PredictError("DEADLINE_EXCEEDED", "the answer was not complete when Lambda's time was nearly over")


class _Alarm:
    """Raises DEADLINE_EXCEEDED after `seconds` while `waiting`, out of a call that waits for a socket too.

    In the main thread alone, where Lambda's runtime clients call the handler: no other gets signals.
    """

    def __init__(self, seconds: float | None) -> None:
        self.waiting = False
        self._on = seconds is not None and threading.current_thread() is threading.main_thread()
        if self._on:
            self._before: Any = signal(SIGALRM, self._ring)
            setitimer(ITIMER_REAL, seconds or _GRACE)

    def _ring(self, *_: object) -> None:
        if self.waiting:
            raise _late()
        if self._on:
            setitimer(ITIMER_REAL, _GRACE)  # a chunk is on its way

    def off(self) -> None:
        """May be repeated."""
        on, self._on = self._on, False
        if on:
            setitimer(ITIMER_REAL, 0)
            signal(SIGALRM, self._before)
