"""HTTP/1.1 by hand: bytes go out as they are given, and answers are read one by one from the same connection."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from tests.answer import Answer

HANG_SECONDS = 20.0  # an answer that takes longer counts as never given
PAUSE_SECONDS = 0.05  # between two pieces, so that they most often arrive as two


class HangError(AssertionError):
    """Nothing came within HANG_SECONDS."""


class ClosedError(AssertionError):
    """The connection ended where an answer was due."""


class Connection:
    """One TCP connection. What the peer has said and nobody has read yet is kept between answers."""

    def __init__(self, port: int, timeout: float = HANG_SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """False when the peer has closed meanwhile: it may have answered before, which `answer` tells."""
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise HangError(f"the peer takes no more of {len(data)} bytes, and does not close") from None
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def half_close(self) -> None:
        """Nothing more is sent, but answers are waited for; no matter if the peer is gone."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next answer, a 1xx as one of its own; ClosedError or HangError when there is none."""
        head, end = self._head()
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = status_line.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise AssertionError(f"this is no status line: {status_line!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._kept = self._kept[end:]
        status = int(rest[:3])
        if head_only or status < 200 or status in (204, 304):
            return Answer(status, headers, b"")
        if "content-length" in headers:
            return Answer(status, headers, self._exactly(int(headers["content-length"])))
        if "transfer-encoding" in headers:
            raise AssertionError("the server's answers have a Content-Length; this one is chunked")
        while self._more():
            pass
        body, self._kept = self._kept, b""
        return Answer(status, headers, body)

    def ended(self) -> bool:
        """The peer has closed, and said nothing more before; HangError when it does neither."""
        while not self._kept:
            if not self._more():
                return True
        return False

    def ended_or_asked(self, data: bytes) -> bool:
        """Sends `data` and waits for the first of an answer; True when the connection has ended instead."""
        if not self.send(data):
            return self.ended()
        return not self._kept and not self._more()

    def _head(self) -> tuple[bytes, int]:
        while (end := self._kept.find(b"\r\n\r\n")) < 0:
            if not self._more():
                raise ClosedError(f"closed where an answer was due, after {self._kept[:200]!r}")
        return self._kept[:end], end + 4

    def _exactly(self, length: int) -> bytes:
        while len(self._kept) < length:
            if not self._more():
                raise ClosedError(f"closed after {len(self._kept)} of {length} bytes of a body")
        body, self._kept = self._kept[:length], self._kept[length:]
        return body

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise HangError("no answer, and the connection is not closed either") from None
        except ConnectionResetError:
            data = b""
        self._kept += data
        return bool(data)


def pause() -> None:
    """A moment in which what was sent arrives; nothing goes wrong when it does not."""
    time.sleep(PAUSE_SECONDS)
