"""The result cache's second tier, DynamoDB or Valkey/Redis, which may be slow or down: no request waits for it long."""

from __future__ import annotations

import threading
import time

from function.concurrency import Background
from function.errors import PredictError
from function.observability.telemetry import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    from function.settings import Settings

    T = TypeVar("T")

    class Store(Protocol):
        """Raises any exception when it fails; entries end after TTL_S seconds."""

        def get(self, key: str) -> bytes | None: ...
        def put(self, key: str, entry: bytes) -> None: ...


TIMEOUT_S = 0.05  # seconds that a request waits for one operation; it makes two at most
TTL_S = 86400  # seconds
LARGEST = 380_000  # bytes; DynamoDB takes 400 KB with the key
FAILURE_THRESHOLD = 3  # in a row, and the tier rests
COOLDOWN_S = 10.0  # seconds


class RemoteTier:
    """A store behind a bound and a breaker. Neither `get` nor `put` raises or takes longer than TIMEOUT_S."""

    def __init__(self, settings: Settings) -> None:
        """PredictError (UNAVAILABLE) when RESULT_CACHE_URL names no store; nothing is connected yet."""
        self._store = _store(settings)
        self._lock = threading.Lock()
        self._failures = 0
        self._resting_until = 0.0

    def get(self, key: str) -> bytes | None:
        """The entry; None when there is none, or when the tier fails, is too slow or rests."""
        return self._bounded(lambda: self._store.get(key))

    def put(self, key: str, entry: bytes) -> None:
        """Stores the entry if it is not too large; waited for, because Lambda freezes what runs on after the answer."""
        if len(entry) <= LARGEST:
            self._bounded(lambda: self._store.put(key, entry))

    def _bounded(self, operation: Callable[[], T]) -> T | None:
        """On a thread (0.1 ms): name resolution and TLS know no time limit that a socket could set."""
        if time.monotonic() < self._resting_until:
            return None
        try:
            result: T = Background(operation, TIMEOUT_S).result()
        except Exception as error:  # noqa: BLE001  (whatever the tier does, the request goes on)
            self._failed(repr(error))
            return None
        self._failures = 0
        return result

    def _failed(self, reason: str) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < FAILURE_THRESHOLD:
                return
            # The first failure after the cooldown starts the next one.
            self._failures = FAILURE_THRESHOLD - 1
            self._resting_until = time.monotonic() + COOLDOWN_S
        warn(f"the result cache's second tier rests for {COOLDOWN_S:.0f} s: {reason}")


def _store(settings: Settings) -> Store:
    from urllib.parse import urlsplit

    url = settings.result_cache_url
    parts = urlsplit(url)
    if parts.hostname and parts.scheme == "dynamodb":
        from function.cache.dynamodb import DynamoDb

        return DynamoDb(settings, parts.netloc, TTL_S)
    if parts.hostname and parts.scheme in ("redis", "rediss", "valkey", "valkeys"):
        from function.cache.valkey import Valkey

        return Valkey(parts, TIMEOUT_S, TTL_S)
    raise PredictError(
        "UNAVAILABLE",
        f"RESULT_CACHE_URL is {url.partition('//')[0]}...; dynamodb://TABLE, redis://HOST:PORT, valkey://HOST:PORT, or "
        "rediss:// and valkeys:// with TLS, are expected",
    )
