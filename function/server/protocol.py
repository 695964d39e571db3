"""HTTP/1.1 by httptools' parser, bounded: heads have a size and a time, bodies are left to the app, errors are JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from function.messages import LARGE_BODY
from function.server.connection import EXTENSION
from function.server.conversation import Conversation, House
from function.server.cycle import Cycle
from function.server.heads import HEAD, HEADER, HEADERS, REQUEST_LINE, checked, reason, too_long
from function.server.lobby import HEAD_S

if TYPE_CHECKING:
    from typing import Any

_FRAMING = (b"content-length", b"transfer-encoding")


class Protocol(Conversation):
    """What is read on a connection. A large body of known length stays in the socket until the app asks for it."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.parser = new_parser(self)
        self.url, self._expect = b"", False
        self.headers: list[tuple[bytes, bytes]] = []
        self.scope: dict[str, Any] = {}
        self._muted = False  # the parser is only being brought to a state again: its callbacks are ignored
        self._untold = self._head = 0  # bytes since the parser's last callback; bytes of this head

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

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        del self.parser  # which knows this object: so no circle is left

    def on_message_begin(self) -> None:
        if self._muted:
            return
        self.url, self.headers, self._expect = b"", [], False
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "scheme": "http",
            "headers": self.headers,
        }
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
        if not self._in_head:  # a trailer, behind a chunked body
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expect = True
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
            self.scope,
            expect=self._expect,
            keep_alive=self.scope["http_version"] == "1.1" and parser.should_keep_alive(),
        )
        self.scope["extensions"] = {EXTENSION: self.cycle}
        if waits or length > LARGE_BODY:
            self.flow.pause_reading()
        if waits:
            self.pipeline.appendleft(self.cycle)
        else:
            if not self.flow.write_paused:
                self.lobby.leave(self)
            self._serve(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._untold = 0
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.feed(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None and not self.parser.should_upgrade():  # else it is before the body, which
            self.cycle.whole()  # `_ignore_upgrade` will feed

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
        if self.cycle is not None:
            self.cycle.more_body = False  # before anything that follows the body, an end of the connection for one
        self.transport.set_protocol(self)


def new_parser(protocol: Protocol) -> HttpRequestParser:
    parser = HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # answer the first of pipelined requests
    return parser
