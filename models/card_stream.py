"""A simulated stream of card payments, some of them by thieves: what models/fraud is trained and judged on.

No payment in it is real. Each card has habits (how often, how much, where, when); some cards are stolen at a random
moment, after which a thief pays with them for up to two days, less like their owner and more like other thieves, but
not all the time. The same seed gives the same stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAYS = 90
STOLEN_SHARE = 0.12  # of the cards, within those days
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class Stream:
    """Payments in the order of time, as columns [n]; `time` in seconds from the stream's beginning."""

    card: NDArray[np.int64]
    time: NDArray[np.float64]
    amount: NDArray[np.float64]
    foreign: NDArray[np.bool_]
    online: NDArray[np.bool_]
    fraud: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.card)


def simulate(cards: int, seed: int = 0) -> Stream:
    """The payments of `cards` cards in DAYS days; about one in 200 is a thief's."""
    random = np.random.default_rng(seed)
    parts = [_card(random, card) for card in range(cards)]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[1], kind="stable")
    return Stream(*(column[order] for column in columns))


def _card(random: np.random.Generator, card: int) -> tuple[NDArray[np.generic], ...]:
    """One card's payments: its owner's, and a thief's if it is stolen."""
    a_day = random.gamma(2.0, 0.8) + 0.1
    habit = _Habit(
        level=random.normal(3.2, 0.7),
        spread=random.uniform(0.4, 1.1),
        foreign=random.beta(0.6, 12),
        online=random.beta(1.5, 4),
        hour=random.normal(14, 2.5),
        hours=random.uniform(2, 5),
    )
    own = _payments(random, habit, random.poisson(a_day * DAYS), 0.0, DAYS * DAY)
    mark = np.zeros(len(own[0]), bool)
    if random.random() < STOLEN_SHARE:
        start = random.uniform(5 * DAY, DAYS * DAY)
        end = min(start + random.exponential(18 * HOUR) + HOUR, start + 2 * DAY, DAYS * DAY)
        thief = _Habit(
            level=habit.level + random.normal(0.9, 0.6),
            spread=random.uniform(0.5, 1.2),
            foreign=random.beta(2, 2),
            online=random.beta(4, 2),
            hour=random.uniform(0, 24),
            hours=random.uniform(3, 8),
        )
        stolen = _payments(random, thief, 1 + random.poisson(14 * (end - start) / DAY), start, end)
        own = tuple(np.concatenate(pair) for pair in zip(own, stolen, strict=True))
        mark = np.concatenate([mark, np.ones(len(stolen[0]), bool)])
    return (np.full(len(mark), card, np.int64), *own, mark)


@dataclass(frozen=True)
class _Habit:
    level: float  # mean of the logarithm of an amount
    spread: float  # its standard deviation
    foreign: float  # share of payments abroad
    online: float
    hour: float  # of the day, around which payments lie
    hours: float  # standard deviation


def _payments(
    random: np.random.Generator, habit: _Habit, count: int, start: float, end: float
) -> tuple[NDArray[np.generic], ...]:
    """Time, amount, foreign and online of `count` payments; a thief's short time is not bent to hours of the day."""
    if end - start > 3 * DAY:
        days = random.integers(0, DAYS, count) * DAY
        time = days + np.mod(random.normal(habit.hour, habit.hours, count), 24) * HOUR
    else:
        time = random.uniform(start, end, count)
    amount = np.round(np.exp(random.normal(habit.level, habit.spread, count)), 2)
    return time, np.maximum(amount, 0.01), random.random(count) < habit.foreign, random.random(count) < habit.online
