"""Feature rows in this process: the first tier, bounded in bytes, the least recently used rows go first."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from function.features.view import Row, View

_ENTRY_BYTES = 500  # of the entry's own objects, and the keys and the dict in it
_VALUE_BYTES = 60  # of a value and its place, beside the bytes of a text


class Entry:
    """A row as it was at `at` (monotonic seconds); None: the stores do not know the entity."""

    __slots__ = ("at", "row", "size")

    def __init__(self, row: Row | None, at: float) -> None:
        self.row, self.at = row, at
        values = row.values.values() if row else ()
        self.size = _ENTRY_BYTES + sum(map(_bytes, values))


def _bytes(value: object) -> int:
    own = _VALUE_BYTES + sys.getsizeof(value)
    return own + sum(map(sys.getsizeof, value)) if isinstance(value, list) else own


class Memory:
    """Entries by view and entity key. `clock` gives monotonic seconds."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`capacity` in bytes, estimated."""
        self._capacity, self._clock = capacity, clock
        self._entries: OrderedDict[tuple[str, bytes], Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.used = 0  # bytes
        self.dropped = 0  # rows for which there was no room

    def get(self, view: View, key: bytes) -> tuple[Entry, float] | None:
        """The entry and its age in seconds, however old; None where there is none."""
        with self._lock:
            entry = self._entries.get(place := (view.scope, key))
            if entry is None:
                return None
            self._entries.move_to_end(place)
            return entry, self._clock() - entry.at

    def put(self, view: View, key: bytes, row: Row | None) -> int:
        """Keeps the row, as of now, if it is not larger than the whole; returns the bytes that it takes."""
        entry = Entry(row, self._clock())
        entry.size += len(key)
        with self._lock:
            place = (view.scope, key)
            if old := self._entries.pop(place, None):
                self.used -= old.size
            if entry.size > self._capacity:
                self.dropped += 1
                return entry.size
            self._entries[place] = entry
            self.used += entry.size
            while self.used > self._capacity:
                self.used -= self._entries.popitem(last=False)[1].size
                self.dropped += 1
        return entry.size
