"""Valkey or Redis as the result cache's second tier: GET and SET."""

from __future__ import annotations

from function.cache.resp import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from function.cache.resp import Reply

_PREFIX = "zeroserve:"  # the server may hold other people's keys too


class Valkey:
    """Connections to one server, kept for the next request; each command has one for itself."""

    def __init__(self, url: SplitResult, timeout: float, keep: int) -> None:
        """`url` and `timeout` as for Connection; entries live for `keep` seconds."""
        self._url, self._timeout, self._keep = url, timeout, keep
        self._idle: list[Connection] = []

    def __del__(self) -> None:
        for connection in self._idle:
            connection.close()

    def get(self, key: str) -> bytes | None:
        entry = self._command("GET", _PREFIX + key)
        return entry if isinstance(entry, bytes) else None

    def put(self, key: str, entry: bytes) -> None:
        self._command("SET", _PREFIX + key, entry, "EX", str(self._keep))

    def _command(self, *words: str | bytes) -> Reply:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self._url, self._timeout)
        try:
            answer = connection.command(*words)
        except BaseException:
            # The late answer must not be read as that of the next command. Other idle connections may be dead too.
            connection.close()
            self._idle.clear()
            raise
        self._idle.append(connection)
        return answer
