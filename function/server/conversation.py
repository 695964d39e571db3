"""One connection: the order of its answers, what it may keep the server waiting for, and its end."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from function.server.cycle import Cycle, Owner
from function.server.heads import BadRequestError
from function.server.lobby import HEAD_S, KEEP_ALIVE_S, LINGER_S

if TYPE_CHECKING:
    import asyncio

_AT_ONCE = 64 * 1024  # bytes of an answer that the kernel takes without waiting for the client


class Conversation(Owner):
    """`lobby`, of the server's state, knows the connections on which no request is being served."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.pipeline: deque[tuple[Cycle, Any]] = deque()  # type: ignore[assignment]  # newest at the left
        self.lobby = self.server_state.lobby  # type: ignore[attr-defined]
        self._in_head = False
        self._ended = False  # the client sends no more
        self._discarding = False  # what it still sends is dropped
        self._unsent = 0
        self._serving: Cycle | None = None
        self._refusal: BadRequestError | None = None  # to be sent when all requests before it are answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.lobby.enter(self, HEAD_S)
        self.lobby.make_room(len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lobby.leave(self)
        self.pipeline.clear()
        serving, self._serving = self._serving, None
        super().connection_lost(exc)
        if serving is not None and not serving.response_complete:
            serving.disconnected = True
            serving.message_event.set()
            if serving.on_lost is not None:
                serving.on_lost()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: requests that are whole are still answered, then the connection is closed."""
        self._ended = True
        if self._discarding or not self._busy() or (self.cycle.more_body and not self.pipeline):
            return False
        if self.cycle.more_body:
            self.pipeline.popleft()
        return True

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _serve(self, cycle: Cycle) -> None:
        self._serving = cycle
        self._start_asgi_task(cycle, self.app)

    def answered(self, cycle: Cycle) -> None:
        """After the answer: the next of the requests that came at once, the wait for another one, or the end."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self.pipeline.clear()
            self._close(linger=cycle.more_body)
        elif self.pipeline:
            following, _ = self.pipeline.pop()
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
        if self._busy() and self.cycle.more_body:  # the broken bytes are of this request's body
            if self.pipeline:
                self.pipeline.popleft()
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
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
        self.transport.write(STATUS_LINE[refusal.status] + b"\r\n".join(head))
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
        super().pause_writing()
        self.lobby.enter(self, HEAD_S)

    def resume_writing(self) -> None:
        super().resume_writing()
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
