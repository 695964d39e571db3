"""How many lookups the memory of one process answers, by its size, where some cards are asked for more than others.

The function's own class for it, with rows of the model's view; none of them grows too old meanwhile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench.features.setup import Part
from bench.features.stores import zipf
from function.features.memory import Memory
from function.features.view import Row
from function.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.features.setup import Setup

SYSTEM = "memory"
SKEWS = (0.8, 1.0, 1.2)
SIZES_MB = (1, 2, 4, 8, 16, 32, 64)
CARDS, DRAWS = 100_000, 250_000  # the first half fills the memory, the other counts
_METRIC = re.compile(r"hits_with_(\d+)_mb_percent")


def measure(setup: Setup, cards: int = CARDS, draws: int = DRAWS, sizes: Sequence[int] = SIZES_MB) -> Part:
    """The part of the result file."""
    part = Part(machine={"cards_by_zipf": cards, "draws_by_zipf": draws})
    view = setup.cards.view
    rows = [Row(1.0, {name: setup.cards.value(index, name) for name in view.names}) for index in range(500)]
    part.machine["memory_default_mb"] = Settings({}).features_cache_bytes / 2**20
    turns = [(skew, size) for skew in SKEWS for size in sizes]
    order: dict[float, list[int]] = {}
    for skew, size in tqdm(turns, desc="hit ratio", unit="size", disable=None):
        if skew not in order:
            order = {skew: zipf(cards, skew, draws)}
        memory, hits = Memory(size * 2**20), 0
        for number, card in enumerate(order[skew]):
            key = view.entity_key({setup.cards.key: setup.cards.name(card)})
            if memory.get(view, key):
                hits += number >= draws // 2
            else:
                memory.put(view, key, rows[card % len(rows)])
        part.samples.add(SYSTEM, payload(skew), f"hits_with_{size}_mb_percent", 100 * hits / (draws - draws // 2))
    return part


def payload(skew: float) -> str:
    """What the result file calls cards of which number r is asked for in proportion to 1 / r^skew."""
    return f"zipf-{skew:g}"


PAYLOADS = [payload(skew) for skew in SKEWS]


def points(document: dict[str, Any]) -> Iterator[tuple[str, int, float]]:
    """(payload, MB, percent of hits) for each size."""
    for row in document["rows"]:
        if match := _METRIC.fullmatch(row["metric"]):
            yield row["payload"], int(match[1]), row["p50"]
