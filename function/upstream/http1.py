"""The answer to one HTTP/1.1 request, read as its bytes come (RFC 9112), without a socket."""

from __future__ import annotations

_LARGEST_HEAD = 64 * 1024  # bytes
_LONGEST_LINE = 1024  # bytes of a chunk's size and extensions, or of a trailer
_HEAD, _LENGTH, _CHUNKS, _TRAILER, _UNTIL_END, _DONE = range(6)


class BadAnswerError(Exception):
    """What came is not HTTP/1.1, or ended too early."""


class Reader:
    """`status` is 0 until the head is there; `headers` have lower-case names. `reusable`: the connection stays."""

    __slots__ = ("_crlf", "_kept", "_left", "_state", "headers", "reusable", "status")

    def __init__(self) -> None:
        self.status, self.reusable = 0, False
        self.headers: dict[str, str] = {}
        self._state, self._kept = _HEAD, b""
        self._left = self._crlf = 0  # bytes to come: of a chunk or the whole body, of the line end after a chunk

    @property
    def done(self) -> bool:
        """The answer is whole."""
        return self._state == _DONE

    @property
    def framed(self) -> bool:
        """The end of the answer is told by more than the end of the connection."""
        return self._state != _UNTIL_END

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in `data`; BadAnswerError."""
        if self._state == _HEAD:
            data = self._head(data)
        if self._state == _CHUNKS:
            return self._chunks(data)
        if self._state == _LENGTH:
            if len(data) > self._left:
                raise BadAnswerError("more came than Content-Length says")
            self._left -= len(data)
            if not self._left:
                self._state = _DONE
            return data
        if self._state == _TRAILER:
            self._trailer(data)
            return b""
        if self._state == _DONE and data:
            raise BadAnswerError("more came than the answer")
        return data

    def end(self) -> None:
        """The connection has ended; BadAnswerError where the answer has not."""
        if self._state not in (_UNTIL_END, _DONE):
            raise BadAnswerError("the connection ended before the answer did")
        self._state, self.reusable = _DONE, False

    def _head(self, data: bytes) -> bytes:
        """What follows the head in `data`."""
        text = self._kept + data
        head, found, rest = text.partition(b"\r\n\r\n")
        if len(head) > _LARGEST_HEAD:
            raise BadAnswerError(f"its head has more than {_LARGEST_HEAD} bytes")
        if not found:
            self._kept = text
            if not (text.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(text)):
                raise BadAnswerError("it does not speak HTTP/1.1")
            return b""
        self._kept = b""
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not status[:3].isdigit() or len(status[:3]) != 3:
            raise BadAnswerError("it does not speak HTTP/1.1")
        self.status = int(status[:3])
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not line.isprintable():
                raise BadAnswerError("a header of its answer cannot be read")
            self.headers[name.lower()] = value.strip()
        if self.status < 200:  # 100 Continue, 103 Early Hints
            self.status, self.headers = 0, {}
            return self._head(rest) if rest else b""
        self.reusable = version == "HTTP/1.1" and self.headers.get("connection", "").lower() != "close"
        coding, length = self.headers.get("transfer-encoding", "").lower(), self.headers.get("content-length", "")
        if coding == "chunked":
            self._state = _CHUNKS
        elif coding or (length and not length.isdecimal()):
            raise BadAnswerError("the length of its answer cannot be read")
        elif self.status in (204, 304) or length:
            self._left = int(length or 0)
            self._state = _LENGTH if self._left else _DONE
        else:
            self._state, self.reusable = _UNTIL_END, False
        return rest

    def _chunks(self, data: bytes) -> bytes:
        if self._kept:
            data, self._kept = self._kept + data, b""
        pieces, at, end = [], 0, len(data)
        while at < end:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._crlf = 0 if self._left else 2
            elif self._crlf:
                if data[at] != b"\n\r"[self._crlf - 1]:
                    raise BadAnswerError("a chunk is longer than it says")
                at, self._crlf = at + 1, self._crlf - 1
            else:
                line = data.find(b"\r\n", at)
                if line < 0:
                    self._keep(data[at:])
                    break
                self._left, at = _size(data[at:line]), line + 2
                if not self._left:
                    self._state = _TRAILER
                    self._trailer(data[at:])
                    break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _trailer(self, data: bytes) -> None:
        """Lines up to an empty one."""
        data, self._kept = self._kept + data, b""
        while self._state == _TRAILER:
            line, found, data = data.partition(b"\r\n")
            if not found:
                self._keep(line)
                return
            if not line:
                self._state = _DONE
                if data:
                    raise BadAnswerError("more came than the answer")

    def _keep(self, data: bytes) -> None:
        if len(data) > _LONGEST_LINE:
            raise BadAnswerError("the size of a chunk cannot be read")
        self._kept = data


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16)
    except ValueError:
        raise BadAnswerError("the size of a chunk cannot be read") from None
