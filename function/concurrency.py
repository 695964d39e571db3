"""A call on a thread of its own, for work that leaves the GIL free."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Background:
    """Runs `call` at once; `result` waits for it and returns what it returned or raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:  # noqa: BLE001  (raised where the result is wanted)
            self._error = error

    def running(self) -> bool:
        """Whether the call has not ended yet."""
        return self._thread.is_alive()

    def result(self) -> Any:
        """Waits; may be asked more than once."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._outcome
