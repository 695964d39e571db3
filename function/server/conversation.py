"""One connection: the order of its answers, what it may keep the server waiting for, and its end."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from time import gmtime, strftime, time
from typing import TYPE_CHECKING

from function.server.cycle import Cycle, Owner
from function.server.flow import FlowControl
from function.server.heads import BadRequestError, status_line
from function.server.lobby import HEAD_S, KEEP_ALIVE_S, LINGER_S

if TYPE_CHECKING:
    from function.server.cycle import Application
    from function.server.lobby import Lobby

_AT_ONCE = 64 * 1024  # bytes of an answer that the kernel takes without waiting for the client


class House:
    """What all connections of a server share. The lobby knows those on which no request is being served."""

    def __init__(self, app: Application, lobby: Lobby) -> None:
        self.app, self.lobby = app, lobby
        self.connections: set[Conversation] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._date: tuple[int, bytes] = (0, b"")

    def date(self) -> bytes:
        """The header line of this second (RFC 9110, 6.6.1)."""
        now = int(time())
        if self._date[0] != now:
            self._date = now, strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime(now)).encode()
        return self._date[1]


class Conversation(Owner):
    """The requests of one connection, answered in their order."""

    def __init__(self, house: House) -> None:
        self.house, self.lobby = house, house.lobby
        self.cycle: Cycle | None = None  # of the request that came last
        self.pipeline: deque[Cycle] = deque()  # newest at the left
        self._in_head = False
        self._ended = False  # the client sends no more
        self._discarding = False  # what it still sends is dropped
        self._unsent = 0
        self._serving: Cycle | None = None
        self._refusal: BadRequestError | None = None  # to be sent when all requests before it are answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport, self.flow = transport, FlowControl(transport)
        self.house.connections.add(self)
        self.lobby.enter(self, HEAD_S)
        self.lobby.make_room(len(self.house.connections))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's)
        self.house.connections.discard(self)
        self.lobby.leave(self)
        self.pipeline.clear()
        serving, self._serving = self._serving, None
        for cycle in (self.cycle, serving):
            if cycle is not None:
                cycle.lose()
        self.flow.resume_writing()

    def eof_received(self) -> bool:
        """The client sends no more: requests that are whole are still answered, then the connection is closed."""
        self._ended = True
        last = self.cycle
        if self._discarding or last is None or last.response_complete or (last.more_body and not self.pipeline):
            return False
        if self._serving is not None and self._serving.ends_with_client:
            return False
        if last.more_body:
            self.pipeline.popleft()
        return True

    def date(self) -> bytes:
        return self.house.date()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _serve(self, cycle: Cycle) -> None:
        self._serving = cycle
        task = asyncio.get_running_loop().create_task(cycle.run(self.house.app))
        self.house.tasks.add(task)  # else nothing keeps it
        task.add_done_callback(self.house.tasks.discard)

    def answered(self, cycle: Cycle) -> None:
        """After the answer: the next of the requests that came at once, the wait for another one, or the end."""
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self.pipeline.clear()
            self._close(linger=cycle.more_body)
        elif self.pipeline:
            following = self.pipeline.pop()
            if not self.pipeline and not following.reads_whole():
                self.flow.resume_reading()
            self._serve(following)
        elif self._refusal is not None:
            self._tell(self._refusal)
        elif self._ended:
            self._close(linger=False)
        else:
            self.flow.resume_reading()
            self.lobby.enter(self, HEAD_S if self._in_head else KEEP_ALIVE_S)

    def _refuse(self, refusal: BadRequestError) -> None:
        """Answers what cannot be read on, after the requests before it, and closes the connection."""
        self.lobby.refused(refusal.reason)
        self._discarding, self._in_head = True, False
        last = self.cycle
        if last is not None and not last.response_complete and last.more_body:  # the broken bytes are of its body
            if self.pipeline:
                self.pipeline.popleft()
            else:
                last.cut_off()
                self._tell(refusal)
                return
        if self._busy():
            self._refusal = refusal
        else:
            self._tell(refusal)

    def _tell(self, refusal: BadRequestError) -> None:
        body = json.dumps({"error": refusal.message}).encode()
        length = str(len(body)).encode()
        head = (b"content-type: application/json", b"content-length: " + length, b"connection: close", b"", body)
        self.transport.write(status_line(refusal.status) + b"\r\n".join(head))
        self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        """Closes, but where the client is still sending or reading: it would see a reset instead of the answer."""
        if self._ended or not (linger or self.transport.get_write_buffer_size() > _AT_ONCE):
            self.transport.close()
            return
        self._discarding = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self.lobby.enter(self, LINGER_S)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered: from now on it has to read on, or is given up."""
        self.flow.pause_writing()
        self.lobby.enter(self, HEAD_S)

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        if self._busy():
            self.lobby.leave(self)

    def too_late(self) -> None:
        """The lobby: nothing has come for too long. An answer that is still being read is waited for."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent != self._unsent:
            self._unsent = unsent
            self.lobby.enter(self, HEAD_S)
        elif unsent or self._discarding:
            self.transport.abort()
        elif self._in_head:
            self._refuse(BadRequestError("slow", 408, f"the head of the request did not come within {HEAD_S:.0f} s"))
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The server ends: a connection without a request is closed, the others after their answers."""
        if not (self._busy() or self._in_head or self._discarding):
            self.transport.close()
