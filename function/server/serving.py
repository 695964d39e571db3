"""The server: takes connections at once, is ready when its model is, and drains before it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING

from function.errors import PredictError
from function.server.app import AsgiApp
from function.server.conversation import House
from function.server.lobby import Lobby
from function.server.protocol import Protocol

if TYPE_CHECKING:
    import socket

    from function.app import App
    from function.concurrency import Background

DRAIN_S = 1.0  # that connections are still taken after the signal: balancers and clients learn of it by then
GRACE_S = 30.0  # for the answers that are still owed then
LAST_WORDS_S = 2.0  # then for those that stream to end with an error event
ACCEPTS = 128  # connections taken in one go; asyncio takes four times as many before the first of them is looked at
NOT_LOADED = 3  # exit status


class Server:
    """On the first SIGTERM or SIGINT it ends as soon as all that came is answered, on the second at once."""

    def __init__(self, core: App, loading: Background, listener: socket.socket, backlog: int, capacity: int) -> None:
        """`loading` ends with the default model; `capacity` connections are open at a time, and up to `backlog` more
        may be taken before the first of them is looked at."""
        self._loading, self._listener, self._backlog = loading, listener, backlog
        self._app = AsgiApp(core, loading)
        self._lobby = Lobby(capacity, self._app.metrics.refused)
        self._house = House(self._app, self._lobby)
        self._status = 0
        self._ending = False

    def run(self) -> int:
        """Serves until a signal; the exit status."""
        asyncio.run(self._serve())
        return self._status

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        signal.signal(signal.SIGHUP, self._refresh)
        server = await self._loop.create_server(
            lambda: Protocol(self._house), sock=self._listener, backlog=min(ACCEPTS, self._backlog // 4)
        )
        self._listener.listen(self._backlog)  # asyncio has one number for the kernel's queue and for its own batches
        host, port = self._listener.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        print(f"listening on http://{address} as process {os.getpid()}", file=sys.stderr)
        loading = self._loop.create_task(self._load())
        await self._end.wait()
        if not self._status:
            await self._drain()
        server.close()
        await self._close()
        loading.cancel()

    async def _load(self) -> None:
        try:
            await self._app.loaded()
        except PredictError as error:
            print(f"ERROR: {error.message}", file=sys.stderr)
        except Exception:  # noqa: BLE001  (a defect: a server that can never be ready must not stay)
            import traceback

            traceback.print_exc()
        else:
            return
        self._status = NOT_LOADED
        self._end.set()

    def _handle(self, number: int, _frame: object) -> None:
        """The first signal ends the server in good order."""
        if self._ending:
            sys.stdout.flush()
            os._exit(128 + number)
        self._ending = True
        self._loop.call_soon_threadsafe(self._end.set)

    def _refresh(self, _number: int, _frame: object) -> None:
        """Models that were prepared again are loaded anew, beside the requests that run meanwhile.

        The thread is started by the loop: a handler must not wait for locks that what it interrupts may hold.
        """
        self._loop.call_soon_threadsafe(threading.Thread(target=self._app.refresh, daemon=True).start)

    async def _drain(self) -> None:
        """Each answer says Connection: close from now on; idle connections are closed when there was time for one."""
        self._lobby.draining = True
        end, turns = monotonic() + DRAIN_S, 0
        # Some turns of the loop in any case: by then whoever was in the kernel's queue is a connection.
        while turns < 5 or (self._house.connections and monotonic() < end):
            await asyncio.sleep(0.02)
            turns += 1

    async def _close(self) -> None:
        """No connection is taken any more; those with a request have GRACE_S for its answer."""
        for connection in list(self._house.connections):
            connection.shutdown()
        end = monotonic() + GRACE_S
        while (self._house.connections or self._house.tasks) and monotonic() < end + LAST_WORDS_S and not self._status:
            if monotonic() >= end:
                self._app.end_streams()
            await asyncio.sleep(0.02)
