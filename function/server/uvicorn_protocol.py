"""uvicorn's HTTP/1.1 protocol, bounded: heads have a size and a time, bodies are left to the app, errors are JSON."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from function.messages import LARGE_BODY
from function.server.connection import EXTENSION
from function.server.cycle import Cycle, Owner
from function.server.heads import HEAD, HEADER, HEADERS, REQUEST_LINE, BadRequestError, checked, reason, too_long
from function.server.lobby import HEAD_S, KEEP_ALIVE_S, LINGER_S

if TYPE_CHECKING:
    import asyncio
    from typing import Any


_AT_ONCE = 64 * 1024  # bytes of an answer that the kernel takes without waiting for the client
_FRAMING = (b"content-length", b"transfer-encoding")


class Protocol(Owner):
    """One connection. `lobby`, of the server's state, knows those on which no request is being served.

    A large body of known length stays in the socket until the app asks for it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.pipeline: deque[tuple[Cycle, Any]] = deque()  # type: ignore[assignment]  # newest at the left
        self.lobby = self.server_state.lobby  # type: ignore[attr-defined]
        self._in_head = self._muted = False
        self._ended = self._discarding = False  # the client sends no more; what it sends is not read any more
        self._untold = self._head = self._unsent = 0
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

    def data_received(self, data: bytes) -> None:
        """Bytes of any part of a request. What the parser takes without telling of it is bounded: it may keep it."""
        if self._discarding:
            return
        self._untold += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HttpParserError as error:
            self._refuse(reason(error))
        if self._untold > REQUEST_LINE + HEAD and not self._discarding:
            self._refuse(too_long(line_is_there=bool(self.headers)))

    def on_message_begin(self) -> None:
        if self._muted:
            return
        super().on_message_begin()
        self._in_head, self._untold, self._head = True, 0, 0
        if not self._busy():
            self.lobby.enter(self, HEAD_S)

    def on_url(self, url: bytes) -> None:
        if not self._muted:
            self.url += url
            if len(self.url) > REQUEST_LINE:
                raise too_long(line_is_there=False)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._muted:
            return
        size = len(name) + len(value) + 4
        self._head += size
        if size > HEADER or self._head > HEAD or len(self.headers) >= HEADERS:
            raise too_long(line_is_there=True)
        if not self._in_head:  # it stands behind a chunked body
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there: the app starts, or the request joins those that are to be answered before."""
        if self._muted:
            return
        self._in_head, self._untold = False, 0
        parser = self.parser
        length = checked(self.scope, parser.get_http_version(), parser.get_method(), self.url)
        waits = self._busy()
        self.cycle = Cycle(
            self,
            length if length > LARGE_BODY else 0,
            scope=self.scope,
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] == "1.1" and parser.should_keep_alive(),
        )
        self.scope["extensions"] = {EXTENSION: self.cycle}  # type: ignore[dict-item]
        if waits or length > LARGE_BODY:
            self.flow.pause_reading()
        if waits:
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self.lobby.leave(self)
            self._serve(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._untold = 0
        if not self.cycle.response_complete:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():  # else the parser is before the body, which `_ignore_upgrade` will feed
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Another protocol is offered and not taken (RFC 9110, 7.8): a parser without that offer reads the body."""
        self.parser = new_parser(self)
        framing = b"".join(name + b": " + value + b"\r\n" for name, value in self.headers if name in _FRAMING)
        self._muted = True
        try:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        finally:
            self._muted = False
        self.data_received(rest)

    def resume(self) -> None:
        """A receiver is done. The parser knows nothing of what it received, so the next request gets a new one."""
        self.parser = new_parser(self)
        self.cycle.more_body = False  # before anything that follows the body, an end of the connection for one
        self.transport.set_protocol(self)

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
        if self._busy() and self.cycle.more_body:  # it is this request's body that is broken
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


def new_parser(protocol: Protocol) -> HttpRequestParser:
    parser = HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # answer the first of pipelined requests
    return parser
