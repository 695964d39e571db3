"""HTTP/1.1 to one address over a kept connection, on a raw socket: a request out, its whole answer in one buffer."""

from __future__ import annotations

# `socket` itself costs 3 ms.
from _socket import (
    AF_INET,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_PEEK,
    MSG_WAITALL,
    SOCK_STREAM,
    TCP_NODELAY,
    socket,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_READ = 4096  # bytes: a head fits; what of a body comes with it is copied once more
_LARGEST_HEAD = 256 * 1024
_LARGEST_BODY = 64 * 1024 * 1024
_ONE_PACKET = 64 * 1024


class BadAnswerError(Exception):
    """What came is no HTTP answer, or is larger than any that is expected."""


class Connection:
    """`ask`, then `answer`, again and again. Where the kept connection turns out to be closed, it is made anew once.

    In place of `ask`, `begin`, `chunk` as often as there is one, and `end`: a body of unknown length, sent once.
    """

    def __init__(self, address: str) -> None:
        """`address` is host:port."""
        self.address = address
        self._socket = socket(AF_INET, SOCK_STREAM)
        self._open = False
        self._received = b""  # but not read yet
        self._request: tuple[bytes, bytes] = (b"", b"")
        self._new = True  # whether this connection has not answered yet

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Sends a request; OSError where nobody listens."""
        if method != "GET":
            headers = {**headers, "Content-Length": str(len(body))}
        head = self._head_of(method, path, headers)
        self._request = (head + body, b"") if len(body) < _ONE_PACKET else (head, body)
        if not self._open or self._received:  # what came unasked belongs to no answer
            self._connect()
        self._send()

    def begin(self, path: str, headers: Mapping[str, str]) -> None:
        """Sends the head of a POST whose body comes in chunks. OSError, as `chunk` and `end`."""
        if not self._open or self._received or self._ended():
            self._connect()
        self._new = True  # nobody has the chunks any more to send them again
        self._socket.sendall(self._head_of("POST", path, {**headers, "Transfer-Encoding": "chunked"}))

    def _ended(self) -> bool:
        """Whether the other side has closed the kept connection, or said something unasked."""
        try:
            self._socket.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def chunk(self, data: bytes, timeout: float | None) -> None:
        """Sends what is not empty, large data from where it lies; TimeoutError after `timeout` seconds."""
        size = len(data)
        self._socket.settimeout(timeout)
        if size < _ONE_PACKET:
            self._socket.sendall(b"%x\r\n%b\r\n" % (size, data))
            return
        for part in (b"%x\r\n" % size, data, b"\r\n"):
            self._socket.sendall(part)

    def end(self, trailers: Mapping[str, str]) -> None:
        """Sends the end of the chunks."""
        lines = [f"{name}: {value}\r\n" for name, value in trailers.items()]
        self._socket.sendall(f"0\r\n{''.join(lines)}\r\n".encode())
        self._socket.settimeout(None)

    def _head_of(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.address}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _connect(self) -> None:
        self.close()
        host, _, port = self.address.rpartition(":")
        self._socket = socket(AF_INET, SOCK_STREAM)
        self._socket.connect((host, int(port)))
        self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._open = self._new = True

    def close(self) -> None:
        """May be repeated; the next request makes a new connection."""
        self._socket.close()
        self._open, self._received = False, b""

    def _send(self) -> None:
        try:
            for part in filter(None, self._request):
                self._socket.sendall(part)
        except OSError:
            pass  # whoever closed it may have answered before: `answer` finds out

    def answer(self) -> tuple[int, dict[str, str], bytearray]:
        """Status, headers by lower-case name, body; waits for it without limit. OSError, BadAnswerError."""
        try:
            self._more()
        except OSError:
            if self._new:
                raise
            self._connect()  # it was closed while nobody used it, and has not answered this
            self._send()
            self._more()
        self._new = False
        version, status, headers = self._head()
        while 100 <= status < 200:  # there is more to come
            version, status, headers = self._head()
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._chunks()
        elif (length := headers.get("content-length")) is not None:
            body = bytearray()
            self._take(body, _size(length, 10))
        elif status == 204:
            body = bytearray()
        else:
            raise BadAnswerError("the answer says neither its length nor that it comes in chunks")
        if version != "HTTP/1.1" or headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, body

    def _more(self) -> None:
        came = self._socket.recv(_READ)
        if not came:
            raise ConnectionResetError("the connection ended before the whole answer had come")
        self._received += came

    def _until(self, end: bytes, limit: int) -> str:
        """What comes before `end`, which is read too."""
        while (at := self._received.find(end)) < 0:
            if len(self._received) > limit:
                raise BadAnswerError(f"no end of a line or a head within {limit} bytes")
            self._more()
        text, self._received = self._received[:at], self._received[at + len(end) :]
        return text.decode("utf-8", "replace")

    def _head(self) -> tuple[str, int, dict[str, str]]:
        first, *lines = self._until(b"\r\n\r\n", _LARGEST_HEAD).split("\r\n")
        version, _, status = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not status[:3].isdecimal():
            raise BadAnswerError(f"{first[:60]!r} is not the first line of an HTTP answer")
        pairs = (line.partition(":") for line in lines)
        return version, int(status[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _chunks(self) -> bytearray:
        body = bytearray()
        while size := _size(self._until(b"\r\n", _READ).partition(";")[0].strip(), 16):
            self._take(body, size)
            if self._until(b"\r\n", _READ):
                raise BadAnswerError(f"a chunk is longer than the {size} bytes that it should have")
        while self._until(b"\r\n", _READ):  # trailers
            pass
        return body

    def _take(self, body: bytearray, size: int) -> None:
        """Appends the next `size` bytes, received in place."""
        start, end = len(body), len(body) + size
        if end > _LARGEST_BODY:
            raise BadAnswerError(f"{end} bytes were announced, at most {_LARGEST_BODY} are taken")
        came, self._received = self._received[:size], self._received[size:]
        body += came
        body += bytes(size - len(came))
        with memoryview(body) as view:
            at = start + len(came)
            while at < end:
                # In one call, however many packets: the GIL stays with those who load and import meanwhile.
                count = self._socket.recv_into(view[at:end], end - at, MSG_WAITALL)
                if not count:
                    raise ConnectionResetError(f"the connection ended {end - at} bytes before the end of the answer")
                at += count


def _size(text: str, base: int) -> int:
    digits = "0123456789abcdefABCDEF" if base == 16 else "0123456789"
    if not text or text.strip(digits):
        raise BadAnswerError(f"{text[:60]!r} is not the length of a body or chunk")
    return int(text, base)
