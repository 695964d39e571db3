"""What is known about a card before a payment: 28 columns over its last day, week and month.

They are what a store of entity features would hold: of payments strictly before the one that is judged.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from models.card_stream import DAY, HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.card_stream import Stream

WINDOWS = {"1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
NAMES = (
    *(
        f"{what}_{window}"
        for window in WINDOWS
        for what in ("count", "mean", "std", "max", "foreign", "online", "night", "total")
    ),
    "last_amount",
    "hours_since_last",
    "days_known",
    "log_ratio_week_to_month",
)


def history(stream: Stream) -> NDArray[np.float32]:
    """float32 [payments, 28]: for each payment of the stream, its card's columns as they were just before."""
    out = np.zeros((len(stream), len(NAMES)), np.float32)
    order = np.lexsort((stream.time, stream.card))
    bounds = np.flatnonzero(np.diff(stream.card[order], prepend=-1, append=-1))
    for start, end in pairwise(bounds):
        rows = order[start:end]
        at = stream.time[rows]
        out[rows] = _of_card(at, at, *_columns(stream, rows))
    return out


def latest(stream: Stream, now: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The cards that have paid before `now` (seconds of the stream), int64 [cards], and their columns at `now`."""
    order = np.lexsort((stream.time, stream.card))
    order = order[stream.time[order] < now]
    cards = np.unique(stream.card[order])
    out = np.zeros((len(cards), len(NAMES)), np.float32)
    bounds = np.flatnonzero(np.diff(stream.card[order], prepend=-1, append=-1))
    for index, (start, end) in enumerate(pairwise(bounds)):
        rows = order[start:end]
        out[index] = _of_card(np.array([now]), stream.time[rows], *_columns(stream, rows))[0]
    return cards, out


def _columns(stream: Stream, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    hour = np.mod(stream.time[rows], DAY) / HOUR
    night = (hour < 6).astype(np.float64)
    return stream.amount[rows], stream.foreign[rows].astype(np.float64), stream.online[rows].astype(np.float64), night


def _of_card(
    now: NDArray[np.float64], at: NDArray[np.float64], amount: NDArray[np.float64], *shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The columns of one card at each moment of `now`; `at` is sorted, and what lies at `now` itself does not count."""
    until = np.searchsorted(at, now, side="left")
    columns: list[NDArray[np.float64]] = []
    sums = [np.concatenate([[0.0], np.cumsum(column)]) for column in (amount, amount**2, *shares)]
    for window in WINDOWS.values():
        since = np.searchsorted(at, now - window, side="left")
        count = (until - since).astype(np.float64)
        total, squares, foreign, online, night = (each[until] - each[since] for each in sums)
        some = np.maximum(count, 1)
        mean = total / some
        spread = np.sqrt(np.maximum(squares / some - mean**2, 0))
        highest = np.array([np.max(amount[a:b]) if b > a else 0.0 for a, b in zip(since, until, strict=True)])
        columns += [count, mean, spread, highest, foreign / some, online / some, night / some, total]
    before = np.maximum(until - 1, 0)
    seen = until > 0
    columns.append(np.where(seen, amount[before], 0.0))
    columns.append(np.where(seen, np.minimum((now - at[before]) / HOUR, 720), 720))
    columns.append(np.where(seen, (now - at[0]) / DAY, 0))
    columns.append(np.log((columns[15] + 1) / (columns[23] * 7 / 30 + 1)))
    return np.stack(columns, axis=1).astype(np.float32)
