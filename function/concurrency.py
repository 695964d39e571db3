"""Calls on threads of their own, and a budget that threads share."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Background:
    """Runs `call` at once; `result` waits for it and returns what it returned or raises what it raised.

    With a `timeout` in seconds, for calls that may never end, `result` waits no longer and the process may end before
    the call does. Where there is no memory for a thread, the caller's own does a call without one; with one, that is a
    RuntimeError.
    """

    def __init__(self, call: Callable[[], Any], timeout: float | None = None) -> None:
        self._call, self._timeout = call, timeout
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = threading.Thread(target=self._run, daemon=timeout is not None)
        try:
            self._thread.start()
        except RuntimeError:
            if timeout is not None:
                raise
            self._thread = None
            self._run()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:  # noqa: BLE001  (raised where the result is wanted)
            self._error = error

    def running(self) -> bool:
        """Whether the call has not ended yet."""
        return self._thread is not None and self._thread.is_alive()

    def result(self) -> Any:
        """Waits; may be asked more than once. TimeoutError when the call takes longer than its `timeout`."""
        if self._thread is not None:
            self._thread.join(self._timeout)
            if self._thread.is_alive():
                raise TimeoutError(f"no answer within {self._timeout:g} s")
        if self._error is not None:
            raise self._error
        return self._outcome


class Budget:
    """Units that many threads share. Whoever asks first is served first, so that a large request is not starved."""

    def __init__(self, capacity: int) -> None:
        self.capacity = self._left = capacity
        self._changed = threading.Condition()
        self._waiting: list[object] = []

    def take(self, amount: int, timeout: float) -> bool:
        """Waits up to `timeout` seconds; False when the units did not come free. `amount` is at most the capacity."""
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                got = self._changed.wait_for(lambda: self._waiting[0] is turn and self._left >= amount, timeout)
                self._left -= amount if got else 0
                return got
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()

    def give_back(self, amount: int) -> None:
        """What `take` took."""
        with self._changed:
            self._left += amount
            self._changed.notify_all()
