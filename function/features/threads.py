"""Threads that wait for stores, kept for the next request: to begin one costs a lookup half of its throughput."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT_S = 10.0  # seconds without a call, and a thread ends


class Threads:
    """So many at `most`; they do not keep the process from ending."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = self._taken = 0  # threads; calls that are under way or about to be

    def start(self, call: Callable[[], None]) -> bool:
        """Runs `call` on one of them; False where all are busy, or there is no memory for another."""
        with self._lock:
            if self._taken == self._most:
                return False
            if self._taken == self._count:
                try:
                    threading.Thread(target=self._work, daemon=True).start()
                except RuntimeError:
                    return False
                self._count += 1
            self._taken += 1
        self._calls.put(call)
        return True

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=_KEPT_S)
            except Empty:
                with self._lock:
                    if self._taken < self._count:  # else a call comes, which counts on this thread
                        self._count -= 1
                        return
                continue
            try:
                call()
            except BaseException:  # this thread ends
                with self._lock:
                    self._count -= 1
                raise
            finally:
                del call  # what it holds is not kept for as long as this thread waits
                with self._lock:
                    self._taken -= 1
