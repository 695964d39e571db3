"""The one door to entity features: rows of entity keys in, a value for each column of a model's views out."""

from __future__ import annotations

import os
import threading
import time

from function.errors import PredictError
from function.exchange import LookedUp
from function.features import tier
from function.features.lookup import Lookup
from function.features.memory import Memory
from function.features.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from function.features.lookup import Outcome
    from function.features.view import Row
    from function.settings import Settings

FAILED, LAST = "failed", "last"


class Join:
    """The lookup of one process, and the views of its models. Any number of threads may use it at once."""

    def __init__(self, settings: Settings) -> None:
        """PredictError (UNAVAILABLE) for a store that cannot be used. Nothing is connected yet."""
        self._memory = Memory(settings.features_cache_bytes)
        self._tiers = tier.from_settings(settings)
        self.lookup = Lookup(self._memory, self._tiers, settings.features_deadline_ms / 1000)
        self._views: dict[str, list[View]] = {}
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Opens a connection to each tier, so that the first request finds one; failures are told and forgotten."""
        self.lookup.connect()

    def views(self, fingerprint: str, documents: Sequence[Mapping[str, Any]], folder: str) -> list[View]:
        """The views of the model build `fingerprint`, whose files are in `folder`; made once, with its rows.

        The file is not looked at where there is a store: what is deployed with a model is older than any store.
        """
        if (views := self._views.get(fingerprint)) is None:
            with self._lock:
                if (views := self._views.get(fingerprint)) is None:
                    views = [View(document) for document in documents]
                    for view in views:
                        if view.file and not self._tiers:
                            self._embed(view, os.path.join(folder, view.file))
                    self._views[fingerprint] = views
        return views

    def _embed(self, view: View, path: str) -> None:
        import csv  # 2 ms

        from function.features import embedded

        count, needed, dropped = 0, 0, self._memory.dropped
        try:
            with open(path, encoding="utf-8", newline="") as file:
                for key, row in embedded.rows(view, file, time.time()):
                    needed += self._memory.put(view, key, row)
                    count += 1
        except (OSError, LookupError, ValueError, csv.Error, PredictError) as error:
            # No text of the error's: it may quote a value.
            message = f"{view.file} of view {view.name!r} cannot be read after {count} rows ({type(error).__name__})"
            raise PredictError("UNAVAILABLE", f"{message}; mend the file and prepare the model again") from error
        if self._memory.dropped > dropped:  # those that are gone would be answered as if nobody knew them
            message = f"the {count} rows of {view.file} take {needed} bytes, for which FEATURES_CACHE_BYTES has no room"
            mend = "set it to as many, or load them into a store by `zeroserve features load` and set FEATURES_URL"
            raise PredictError("UNAVAILABLE", f"{message}; {mend}")

    def unknown_status(self) -> str:
        """What Feast says of an entity that its store does not have: Redis cannot tell it from nulls."""
        return getattr(self._tiers[-1].store, "UNKNOWN", "NOT_FOUND") if self._tiers else "NOT_FOUND"

    def columns(
        self, views: Sequence[View], keys: Mapping[str, list[Any]], count: int
    ) -> tuple[dict[str, Any], LookedUp]:
        """For each column of the views its `count` values, None where the model's own rule for gaps holds.

        PredictError: INVALID_ARGUMENT for a key that cannot name an entity, UNAVAILABLE where no store answers and a
        view says so.
        """
        wanted = []
        for view in views:
            rows = zip(*(keys[name] for name in view.keys), strict=True)
            wanted += [(view, view.entity_key(dict(zip(view.keys, row, strict=True)))) for row in rows]
        outcomes = self.lookup.rows(wanted)
        told = LookedUp()
        found: dict[str, Any] = {}
        for outcome in outcomes:
            told.found(outcome.source)
        told.resting = self.lookup.resting()
        for at, view in enumerate(views):
            _fill(view, outcomes[at * count : (at + 1) * count], found, told)
        return found, told


def believed(view: View, outcome: Outcome, now: float) -> tuple[Row | None, str]:
    """The row that counts, None for the view's defaults, and its status; PredictError as `Join.columns`."""
    row = outcome.row
    if view.on_error == "unavailable" and (outcome.source in (FAILED, LAST) or (row and row.unreadable)):
        what = "what is stored cannot be read" if outcome.source not in (FAILED, LAST) else "no store answered"
        message = f"{what} for view {view.name!r}; ask again, or set on_error to another policy"
        raise PredictError("UNAVAILABLE", message, {"Retry-After": "1"})
    if outcome.source in (FAILED, LAST) and (row is None or view.on_error != LAST):
        return None, "UNAVAILABLE"
    if row is None or row.missing():
        return None, "NOT_FOUND"
    if view.ttl and row.event_time < now - view.ttl:
        return None, "OUTSIDE_MAX_AGE"
    return row, "LAST_KNOWN" if outcome.source == LAST else "PRESENT"


def _fill(view: View, outcomes: Sequence[Outcome], found: dict[str, Any], told: LookedUp) -> None:
    now, names = time.time(), view.names
    lists: list[list[Any]] = [[] for _ in names]
    places = list(zip(view.columns, lists, strict=True))
    for index, outcome in enumerate(outcomes):
        row, status = believed(view, outcome, now)
        if row is None:
            for column, values in places:
                values.append(column.default)
            told.note(index, view.name, status, names)
            continue
        told.served(row.event_time, now)
        gaps: list[str] = []
        unreadable: list[str] = []
        for column, values in places:
            name = column.name
            value = row.values.get(name)
            if not column.holds(value):
                value = row.unreadable.get(name) if view.on_error == LAST else None
                if not column.holds(value):
                    value = column.default
                    (unreadable if name in row.unreadable else gaps).append(name)
                else:
                    status = "LAST_KNOWN"
            values.append(value)
        if gaps or status != "PRESENT":
            told.note(index, view.name, status if status != "PRESENT" else "NULL_VALUE", gaps)
        if unreadable:
            told.note(index, view.name, "UNAVAILABLE", unreadable)
    found.update(zip(names, lists, strict=True))
