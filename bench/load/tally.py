"""The slots of a load benchmark as rows and ratios of a result file."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bench import results
from bench.payloads import NESTED
from bench.servers import FASTAPI, GO, OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.load.slots import Slot

THROUGHPUT, LATENCY, P99 = "throughput_rps", "latency_ms", "latency_p99_ms"
# Metrics of the published method carry this before their name; those of the steady run carry nothing.
PUBLISHED, STEADY = "published_", ""
FLOOR = "ort-floor"
RATIOS = (
    (PUBLISHED + THROUGHPUT, (OURS, NESTED), (GO, NESTED)),
    (PUBLISHED + THROUGHPUT, (OURS, NESTED), (FASTAPI, NESTED)),
    (PUBLISHED + THROUGHPUT, (GO, NESTED), (FASTAPI, NESTED)),
    (PUBLISHED + P99, (OURS, NESTED), (GO, NESTED)),
    (PUBLISHED + P99, (GO, NESTED), (FASTAPI, NESTED)),
    (STEADY + THROUGHPUT, (OURS, NESTED), (GO, NESTED)),
    (STEADY + THROUGHPUT, (OURS, NESTED), (FASTAPI, NESTED)),
    (STEADY + P99, (OURS, NESTED), (GO, NESTED)),
    (STEADY + P99, (OURS, NESTED), (FASTAPI, NESTED)),
    (STEADY + THROUGHPUT, (OURS, NESTED), (FLOOR, "binary")),
    (STEADY + THROUGHPUT, (OURS, "json-flat"), (FLOOR, "binary")),
    (STEADY + THROUGHPUT, (OURS, "binary"), (FLOOR, "binary")),
    (STEADY + THROUGHPUT, (OURS, "jpeg"), (FLOOR, "binary")),
)


class Tally:
    """Slots by system, payload and method (PUBLISHED or STEADY), one for each round."""

    def __init__(self) -> None:
        self._slots: defaultdict[tuple[str, str, str], list[Slot]] = defaultdict(list)

    def add(self, system: str, payload: str, method: str, slot: Slot) -> None:
        """Adds the next round's slot."""
        self._slots[system, payload, method].append(slot)

    def throughput(self, system: str, payload: str, method: str) -> float:
        """The median of the rounds, in answers per second."""
        return statistics.median(slot.rps for slot in self._slots[system, payload, method])

    def keep(self, best: str, variants: Sequence[str], system: str) -> None:
        """Calls the best of the variants `system` and forgets the others."""
        kept = {key: slots for key, slots in self._slots.items() if key[0] == best or key[0] not in variants}
        self._slots.clear()
        for (name, *rest), slots in kept.items():
            payload, method = rest
            self._slots[system if name == best else name, payload, method] = slots

    def rows(self) -> list[dict[str, Any]]:
        """The rows of a result file. Those of LATENCY are medians of each round's quantiles, and the least minimum."""
        found = []
        for (system, payload, method), slots in self._slots.items():
            for metric, values in _series(slots).items():
                if any(values):  # the floor has no generator
                    found.append(results.row(system, payload, method + metric, values))
            latencies = {
                name: statistics.median(slot.latency_ms[name] for slot in slots) for name in ("p50", "p90", "p99")
            }
            latencies["min"] = min(slot.latency_ms["min"] for slot in slots)
            rounded = {name: round(value, 4) for name, value in latencies.items()}
            metric = method + LATENCY
            unit = results.unit_of(metric)
            found.append({"system": system, "payload": payload, "metric": metric, **rounded, "unit": unit})
        return found

    def ratios(self) -> list[dict[str, Any]]:
        """Those of RATIOS of which both sides were measured."""
        return list(self._ratios())

    def _ratios(self) -> Iterable[dict[str, Any]]:
        for metric, of, to in RATIOS:
            method = PUBLISHED if metric.startswith(PUBLISHED) else STEADY
            sides = [self._slots.get((*side, method)) for side in (of, to)]
            if all(sides):
                values = [_series(side or [])[metric.removeprefix(method)] for side in sides]
                yield results.ratio(metric, of, to, *values)


def _series(slots: Sequence[Slot]) -> dict[str, list[float]]:
    return {
        THROUGHPUT: [slot.rps for slot in slots],
        P99: [slot.latency_ms["p99"] for slot in slots],
        "server_cpu_per_request_ms": [slot.server_cpu_ms for slot in slots],
        "generator_cpu_per_request_ms": [slot.generator_cpu_ms for slot in slots],
    }
