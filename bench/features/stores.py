"""The stores that the benchmark reads: Redis and PostgreSQL of its own, filled with the same simulated cards."""

from __future__ import annotations

import csv
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench import cache
from bench.postgres import INITDB, postgres
from function.cache.resp import Connection
from function.features.view import View
from function.settings import Settings
from models import extras, features_load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from models.manifest import Manifest

CARDS = 20_000
SEED = 20_261


class Cards:
    """So many cards: those that come with the model, over and over under further names."""

    def __init__(self, model: Manifest, count: int, folder: Path) -> None:
        """Writes them to a CSV file in `folder`. RuntimeError for a model without features and a file of them."""
        views = [View(document) for document in extras.tables(model).get("features", [])]
        if len(views) != 1 or not views[0].file:
            raise RuntimeError(f"model {model.name!r} has no single [[features]] with a file of rows; choose another")
        (self.view,), self.count = views, count
        with (model.folder / self.view.file).open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        (self.key,) = self.view.keys
        self._rows = [dict(zip(head, row, strict=True)) for row in rows]
        self.path = folder / "cards.csv"
        with self.path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, head)
            writer.writeheader()
            writer.writerows({**self._row(index), self.key: self.name(index)} for index in range(count))

    @staticmethod
    def name(index: int) -> str:
        return f"c-{index}"

    def _row(self, index: int) -> dict[str, str]:
        return self._rows[index % len(self._rows)]

    def value(self, index: int, column: str) -> float:
        """What the file says of a card."""
        return float(self._row(index)[column])

    def fill(self, url: str) -> None:
        """Loads the file into a store, as `zeroserve features load` does."""
        features_load.load(self.path, self.view, Settings({"FEATURES_URL": url}), restart=True)


def zipf(count: int, skew: float, draws: int, seed: int = SEED) -> list[int]:
    """Which of `count` entities `draws` requests are about: number r is asked for in proportion to 1 / (r + 1)^skew."""
    weights = [1 / (rank + 1) ** skew for rank in range(count)]
    return random.Random(seed).choices(range(count), weights, k=draws)


@contextmanager
def redis(cards: Cards) -> Iterator[str]:
    """The URL of a filled Redis or Valkey. RuntimeError where none is installed."""
    if cache.VALKEY is None:
        raise RuntimeError("neither valkey-server nor redis-server is installed (Debian: redis-server)")
    with cache.valkey() as url:
        cards.fill(url)
        yield url


@contextmanager
def database(cards: Cards) -> Iterator[str]:
    """The URL of a filled PostgreSQL. RuntimeError where none is installed."""
    if INITDB is None:
        raise RuntimeError("no PostgreSQL server is installed (Debian: postgresql)")
    with postgres() as server:
        cards.fill(server.url)
        server.run("ANALYZE")
        yield server.url


def bytes_of_a_card(url: str, cards: Cards) -> float:
    """Memory of Redis for each card, with its share of the server's own."""
    connection = Connection(urlsplit(url), 30)
    try:
        told: Any = connection.command("INFO", "memory")
    finally:
        connection.close()
    fields: Sequence[str] = told.decode().splitlines()
    (used,) = (line.partition(":")[2] for line in fields if line.startswith("used_memory_dataset:"))
    return int(used) / cards.count
