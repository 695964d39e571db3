"""Connections to a store that are kept for the next request, and may have died meanwhile."""

from __future__ import annotations

import contextlib
import time
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_IDLE_S = 30.0  # one unused for longer is opened anew: Lambda freezes the process, and its sockets die unseen


class Pool:
    """Gives each caller a connection of its own; any number of threads at once.

    `connect` opens one, which has `close`. `broken` are the exceptions that a connection raises which the server has
    closed: the operation is then tried once more on a new one. Operations must be safe to repeat.
    """

    def __init__(self, connect: Callable[[], Any], broken: tuple[type[Exception], ...]) -> None:
        self._connect, self._broken = connect, broken
        self._idle: list[tuple[float, Any]] = []
        weakref.finalize(self, _close, self._idle)  # not __del__: the sockets' own may come before that

    def use(self, operation: Callable[[Any], Any]) -> Any:
        """What `operation` returns for a connection; raises what it raises, or what connecting does."""
        if (kept := self._kept()) is not None:
            try:
                return self._tried(operation, kept)
            except TimeoutError:  # the server is there, but slow
                raise
            except self._broken:
                pass
        return self._tried(operation, self._connect())

    def _tried(self, operation: Callable[[Any], Any], connection: Any) -> Any:
        try:
            outcome = operation(connection)
        except BaseException:
            with contextlib.suppress(Exception):  # an answer may still come, which nobody else must read
                connection.close()
            raise
        self._idle.append((time.monotonic(), connection))
        return outcome

    def _kept(self) -> Any | None:
        while True:
            try:
                used, connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - used < _IDLE_S:
                return connection
            with contextlib.suppress(Exception):
                connection.close()

    def close(self) -> None:
        """Closes those that nobody uses."""
        _close(self._idle)


def _close(idle: list[tuple[float, Any]]) -> None:
    while idle:
        with contextlib.suppress(Exception):
            idle.pop()[1].close()
