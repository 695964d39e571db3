"""A store behind the memory: which one a URL names, and a breaker for the time when it is down."""

from __future__ import annotations

import threading
import time

from function.errors import PredictError
from function.observability.telemetry import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from function.features.view import Row, View
    from function.settings import Settings

    class Store(Protocol):
        """Raises any exception when it fails."""

        def connect(self) -> None: ...
        def read(self, wanted: Sequence[tuple[View, bytes]]) -> Sequence[Row | None]: ...
        def write(self, rows: Sequence[tuple[View, bytes, Row]]) -> None: ...


TIMEOUT_S = 1.0  # seconds that a store has for each step; requests wait no longer than their own deadline
FAILURE_THRESHOLD = 3  # in a row, and the tier rests
COOLDOWN_S = 10.0  # seconds; then one request tries it


class Tier:
    """`name` is what metrics call it. Any number of threads may use it at once."""

    def __init__(self, name: str, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.store, self._clock = name, store, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._resting_until = 0.0

    def rests(self) -> bool:
        """Whether nobody would be let through now."""
        with self._lock:
            return self._failures >= FAILURE_THRESHOLD and self._clock() < self._resting_until

    def available(self) -> bool:
        """Whether it may be asked now. After its rest one caller is let through, and the others when that went well."""
        with self._lock:
            if self._failures < FAILURE_THRESHOLD:
                return True
            if self._clock() < self._resting_until:
                return False
            self._resting_until = self._clock() + COOLDOWN_S
            return True

    def resting(self) -> bool:
        """Whether the breaker is open."""
        with self._lock:
            return self._failures >= FAILURE_THRESHOLD

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self, reason: str) -> None:
        """Counts a failure: an exception, or a request that waited for it in vain. No key or value is in `reason`."""
        with self._lock:
            self._failures += 1
            if self._failures != FAILURE_THRESHOLD:
                return
            self._resting_until = self._clock() + COOLDOWN_S
        warn(f"the feature {self.name} rests for {COOLDOWN_S:.0f} s: {reason}")


def from_settings(settings: Settings, timeout: float | None = None) -> list[Tier]:
    """The tiers that FEATURES_URL and FEATURES_DATABASE_URL name, nearest first. PredictError (UNAVAILABLE).

    `timeout`: seconds that a store has for each step, TIMEOUT_S without it.
    """
    tiers = []
    for name, variable, url in (
        ("store", "FEATURES_URL", settings.features_url),
        ("database", "FEATURES_DATABASE_URL", settings.features_database_url),
    ):
        if url:
            tiers.append(Tier(name, _store(settings, variable, url, timeout or TIMEOUT_S)))
    return tiers


def _store(settings: Settings, variable: str, url: str, timeout: float) -> Store:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.port  # a ValueError of either would come with the first request otherwise
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "dynamodb":
        from function.features.dynamodb_store import DynamoDbStore

        return DynamoDbStore(settings, timeout)
    if parts.hostname and parts.scheme in ("redis", "rediss", "valkey", "valkeys"):
        from function.features.redis_store import RedisStore

        return RedisStore(parts, timeout)
    if parts.scheme in ("postgresql", "postgres"):
        try:
            from function.features.postgres_store import PostgresStore  # 57 ms, its driver
        except ModuleNotFoundError as error:
            raise PredictError(
                "UNAVAILABLE", f"{variable} names PostgreSQL, whose driver is not here: install zeroserve[features]"
            ) from error
        return PostgresStore(parts, timeout)
    raise PredictError(
        "UNAVAILABLE",
        f"{variable} names no store; redis://HOST:PORT, valkey://HOST:PORT (rediss://, valkeys:// with "
        "TLS), dynamodb:// or postgresql://USER@HOST/DATABASE are expected",
    )
