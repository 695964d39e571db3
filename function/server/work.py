"""The queue between whole requests and the threads that answer them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from function.server.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from function.exchange import Exchange
    from function.messages import Response
    from function.server.connection import Connection

QUEUE_S = 30.0  # the longest that a whole request waits for a thread; by then its caller has most likely given up


class Work:
    """Threads for what takes a CPU, and a count of the requests that wait for one or run."""

    def __init__(self, workers: int, queue_size: int, respond: Callable[[Exchange], Response]) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="infer")
        self._respond = respond
        self._workers, self._limit, self._admitted = workers, workers + queue_size, 0

    async def run(self, exchange: Exchange, connection: Connection | None) -> Response:
        """The core's answer to a whole request, worked out on one of the threads.

        RefusedError: all places are taken, none came free in QUEUE_S, or the client has left before its turn.
        """
        if self._admitted >= self._limit:
            raise RefusedError(
                "queue", "UNAVAILABLE", f"{self._limit} requests are being served already; try again in a second"
            )
        self._admitted += 1
        deadline = None
        try:
            job = self._threads.submit(self._respond, exchange)
            if self._admitted > self._workers:
                deadline = asyncio.get_running_loop().call_later(QUEUE_S, job.cancel)  # no effect once it has begun
            if connection is not None:
                connection.on_lost = job.cancel
            try:
                return await asyncio.wrap_future(job)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not job.cancelled() or (task is not None and task.cancelling()):
                    raise
            if connection is not None and connection.lost:
                raise RefusedError("disconnected", "UNAVAILABLE", "the client left before its request was begun")
            raise RefusedError("deadline", "UNAVAILABLE", f"no thread was free within {QUEUE_S:.0f} s; try again later")
        finally:
            self._admitted -= 1
            if deadline is not None:
                deadline.cancel()
            if connection is not None:
                connection.on_lost = None
