"""uvicorn's server with an end that no client notices: it drains before it closes, and exits with status 0."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from types import FrameType

    from function.server.lobby import Lobby

DRAIN_S = 1.0  # that connections are still taken after the signal: balancers and clients learn of it by then


class Server(uvicorn.Server):
    """On the first SIGTERM or SIGINT it ends as soon as all that came is answered, on the second at once."""

    def __init__(self, config: uvicorn.Config, lobby: Lobby) -> None:
        super().__init__(config)
        self._lobby = lobby
        self.server_state.lobby = lobby  # type: ignore[attr-defined]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Each answer says Connection: close from now on; idle connections are closed when there was time for one."""
        self._lobby.draining = True
        end = monotonic() + DRAIN_S
        while self.server_state.connections and monotonic() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's would raise the signal again at the end, which makes an orderly end look like a crash."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal ends the server in good order."""
        if self.should_exit:
            sys.stdout.flush()
            os._exit(128 + sig)
        self.should_exit = True
