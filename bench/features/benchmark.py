"""Entity features: beside Feast's own server, by tier, the hit ratio of the memory, and the cold start."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import machine, results
from bench.features import beside_feast, cold, hits, stores, tiers
from bench.features.setup import setup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.features.setup import Part, Setup
    from models.manifest import Manifest

FILE = "features.json"
SECONDS = 6.0  # of a slot under load
PARTS: dict[str, Callable[[Setup], Part]] = {
    "feast": beside_feast.measure,
    "tiers": tiers.measure,
    "hits": hits.measure,
    "cold": cold.measure,
}
_PAYLOADS = {
    "feast": [*beside_feast.PAYLOADS, beside_feast.IMPORT],
    "tiers": tiers.PAYLOADS,
    "hits": hits.PAYLOADS,
    "cold": cold.PAYLOADS,
}


def bench(
    model: Manifest, names: Sequence[str], runs: int, seconds: float = SECONDS, cards: int = stores.CARDS
) -> dict[str, Any]:
    """The result file's content, of these parts alone."""
    document: dict[str, Any] = {"machine": machine.machine(), "versions": machine.versions(), "runs": runs}
    document |= {"rows": [], "ratios": []}
    with tempfile.TemporaryDirectory() as name, setup(model, Path(name), cards, runs, seconds) as made:
        for each in (each for each in PARTS if each in names):
            part = PARTS[each](made)
            document["rows"] += part.samples.rows()
            document["ratios"] += part.ratios
            document["machine"] |= part.machine
            document["versions"] |= part.versions
    return document


def merged(document: dict[str, Any], names: Sequence[str], before: dict[str, Any]) -> dict[str, Any]:
    """`document`, which has the parts `names`, with the other parts of an earlier one."""
    new = {payload for name in names for payload in _PAYLOADS[name]}
    kept = {key: [each for each in before[key] if each["payload"] not in new] for key in ("rows", "ratios")}
    return {
        **document,
        "machine": before["machine"] | document["machine"],
        "versions": before["versions"] | document["versions"],
        **{key: kept[key] + document[key] for key in kept},
    }


def on_top(document: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`document` with what the result file has of the other parts, if there is one."""
    path = results.FOLDER / FILE
    return merged(document, names, results.read(path)) if path.exists() and set(names) != set(PARTS) else document
