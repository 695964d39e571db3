"""A connection to Redis or Valkey: commands in RESP 2, one after another or many at once.

The protocol: redis.io/docs/latest/develop/reference/protocol-spec. The `redis` package costs 80 to 120 ms to import.
"""

from __future__ import annotations

import socket
from urllib.parse import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from urllib.parse import SplitResult

    Reply = bytes | int | list["Reply"] | None

_PORT = 6379
_HEADS = [b"\r\n$%d\r\n" % length for length in range(64)]  # made once: a load writes millions of short words
_SIZES = {b"$%d\r\n" % length: length for length in range(64)}  # and reads a hundred rows of thirty for a request
_LARGEST = 64 * 1024 * 1024  # bytes of a reply or elements of an array; more is taken for garbage


class RespError(Exception):
    """The server refused a command; the message is its own."""


class Connection:
    """One socket to a server; not for two threads at once. After any exception but RespError it must be closed."""

    def __init__(self, url: SplitResult, timeout: float) -> None:
        """`url` is redis[s]:// or valkey[s]://[user:password@]host[:port][/database]; s means TLS. OSError, RespError.

        `timeout`: seconds for connecting, and for each wait for the server.
        """
        plain = socket.create_connection((url.hostname or "", url.port or _PORT), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if url.scheme in ("rediss", "valkeys"):
                import ssl  # 50 ms with the authorities

                plain = ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname)
            self._socket, self._file = plain, plain.makefile("rb")
            if url.password:
                user = [unquote(url.username)] if url.username else []
                self.command("AUTH", *user, unquote(url.password))
            if database := url.path.strip("/"):
                self.command("SELECT", database)
        except BaseException:
            plain.close()
            raise

    def command(self, *words: str | bytes) -> Reply:
        """The reply to one command: a string's bytes, a number, a list of replies, None for none.

        RespError when the server refuses it; OSError when the connection or what comes over it is broken.
        """
        (reply,) = self.pipeline([words])
        return reply

    def pipeline(self, commands: Iterable[Sequence[str | bytes]]) -> list[Reply]:
        """The replies to many commands, which are sent at once; raises as `command` does, when all replies are read."""
        sent = b"".join(map(_encoded, commands := list(commands)))
        self._socket.sendall(sent)
        replies: list[Reply] = []
        refusal: RespError | None = None
        for _ in commands:
            try:
                replies.append(self._reply())
            except RespError as error:
                refusal = refusal or error
        if refusal:
            raise refusal
        return replies

    def _reply(self) -> Reply:
        line = self._file.readline(65536)
        if (size := _SIZES.get(line)) is not None:
            return self._content(size)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise RespError(text.decode(errors="replace"))
        if kind == b"+":
            return text
        if kind not in (b":", b"$", b"*") or not text.removeprefix(b"-").isdigit():
            raise ConnectionError("the server sent what is not a reply in RESP")
        number = int(text)
        if kind == b":":
            return number
        if number < 0:
            return None
        if number > _LARGEST:
            raise ConnectionError(f"the server announced a reply of {number} bytes or elements")
        if kind == b"*":
            return [self._reply() for _ in range(number)]
        return self._content(number)

    def _content(self, size: int) -> bytes:
        content = self._file.read(size + 2)
        if len(content) != size + 2:
            raise ConnectionError("the server closed the connection")
        return content[:size]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def _encoded(words: Sequence[str | bytes]) -> bytes:
    """A command as an array of bulk strings: lengths first, so no byte of a word can end it."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    framed = [b"*%d" % len(parts)]
    for part in parts:
        framed += (_HEADS[len(part)] if len(part) < len(_HEADS) else b"\r\n$%d\r\n" % len(part), part)
    framed.append(b"\r\n")
    return b"".join(framed)
