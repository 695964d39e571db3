"""Valkey or Redis as the result cache's second tier: GET and SET in RESP 2 over a socket.

The protocol: redis.io/docs/latest/develop/reference/protocol-spec. The `redis` package costs 120 ms to import.
"""

from __future__ import annotations

import socket
from urllib.parse import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib.parse import SplitResult

_PREFIX = "zeroserve:"  # the server may hold other people's keys too
_PORT = 6379


class ValkeyError(Exception):
    """The server refused a command; the message is its own."""


class Valkey:
    """Connections to one server, kept for the next request; each command has one for itself."""

    def __init__(self, url: SplitResult, timeout: float, keep: int) -> None:
        """`url` is redis[s]:// or valkey[s]://[user:password@]host[:port][/database]; s means TLS."""
        self._url, self._timeout, self._keep = url, timeout, keep
        self._idle: list[_Connection] = []

    def __del__(self) -> None:
        for connection in self._idle:
            connection.close()

    def get(self, key: str) -> bytes | None:
        return self._command("GET", _PREFIX + key)

    def put(self, key: str, entry: bytes) -> None:
        self._command("SET", _PREFIX + key, entry, "EX", str(self._keep))

    def _command(self, *words: str | bytes) -> bytes | None:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            answer = connection.command(*words)
        except BaseException:
            # The late answer must not be read as that of the next command. Other idle connections may be dead too.
            connection.close()
            self._idle.clear()
            raise
        self._idle.append(connection)
        return answer

    def _connect(self) -> _Connection:
        url = self._url
        plain = socket.create_connection((url.hostname or "", url.port or _PORT), self._timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if url.scheme in ("rediss", "valkeys"):
            import ssl  # 50 ms with the authorities

            plain = ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname)
        connection = _Connection(plain)
        if url.password:
            user = [unquote(url.username)] if url.username else []
            connection.command("AUTH", *user, unquote(url.password))
        if database := url.path.strip("/"):
            connection.command("SELECT", database)
        return connection


class _Connection:
    def __init__(self, connected: socket.socket) -> None:
        self._socket, self._file = connected, connected.makefile("rb")

    def command(self, *words: str | bytes) -> bytes | None:
        """The answer to a command: its bytes, None for none; ValkeyError for an error."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))
        line = self._file.readline()
        kind, text = line[:1], line[1:].rstrip()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        if kind == b"-":
            raise ValkeyError(text.decode(errors="replace"))
        if kind != b"$":  # +OK
            return text
        if (size := int(text)) < 0:
            return None
        content = self._file.read(size + 2)
        if len(content) != size + 2:
            raise ConnectionError("the server closed the connection")
        return content[:size]

    def close(self) -> None:
        self._file.close()
        self._socket.close()
