"""What all parts of the benchmark share: the model, the cards, the stores (each started once), how long to measure."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import results, servers
from bench.features import stores
from bench.loadgen.generator import Generator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.features.stores import Cards
    from bench.load.slots import Slot
    from bench.peers.launch import Server
    from models.manifest import Manifest

CLIENTS = 10
WARM_SECONDS = 1.0  # of the first round, which does not count
THROUGHPUT, P50, P99, MEAN = "throughput_rps", "latency_p50_ms", "latency_p99_ms", "latency_mean_ms"
# An answer with defaults is none that counts: the lookup may take as long as it takes.
PATIENT = {"FEATURES_DEADLINE_MS": "2000"}
NO_MEMORY = {"FEATURES_CACHE_BYTES": "0"}


@dataclass
class Part:
    """What a part adds to the result file."""

    samples: results.Samples = field(default_factory=results.Samples)
    ratios: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def add_slot(self, system: str, payload: str, slot: Slot) -> None:
        """Adds the next round's slot."""
        figures = {
            THROUGHPUT: slot.rps,
            MEAN: 1000 * CLIENTS / slot.rps,
            P50: slot.latency_ms["p50"],
            P99: slot.latency_ms["p99"],
            "server_cpu_per_request_ms": slot.server_cpu_ms,
        }
        for metric, value in figures.items():
            self.samples.add(system, payload, metric, value)


class Setup:
    """For the length of one benchmark; `runs` rounds count, a slot takes so many `seconds`."""

    def __init__(self, model: Manifest, folder: Path, cards: int, runs: int, seconds: float) -> None:
        self.model, self.folder, self.runs, self.seconds = model, folder, runs, seconds
        self.cards: Cards = stores.Cards(model, cards, folder)
        self.generator = Generator(folder)
        self._up = ExitStack()
        self._urls: dict[str, str] = {}

    def redis(self) -> str:
        """The URL of a filled Redis."""
        return self._started("redis", stores.redis(self.cards))

    def database(self) -> str:
        """The URL of a filled PostgreSQL."""
        return self._started("database", stores.database(self.cards))

    def _started(self, name: str, store: AbstractContextManager[str]) -> str:
        if name not in self._urls:
            self._urls[name] = self._up.enter_context(store)
        return self._urls[name]

    def rounds(self) -> Iterator[tuple[bool, float]]:
        """Whether a round counts, and the length of its slots."""
        yield False, min(WARM_SECONDS, self.seconds)
        for _ in range(self.runs):
            yield True, self.seconds

    def close(self) -> None:
        self._up.close()


@contextmanager
def setup(model: Manifest, folder: Path, cards: int, runs: int, seconds: float) -> Iterator[Setup]:
    """A Setup whose stores end with the block."""
    made = Setup(model, folder, cards, runs, seconds)
    try:
        yield made
    finally:
        made.close()


def zeroserve(model: Manifest, settings: Mapping[str, str]) -> AbstractContextManager[Server]:
    """This project's server with these settings."""
    return servers.zeroserve(model, {**PATIENT, **settings})
