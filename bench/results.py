"""The result files of all benchmarks: samples for each round in; rows, ratios and a checked JSON file out."""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path(__file__).parent / "results"
# The end of a metric's name says its unit.
UNITS = {"_ms": "ms", "_mb": "MB", "_worker_mb": "MB", "_rps": "1/s", "_percent": "%"}
KEYS = {"machine": dict, "versions": dict, "runs": int, "rows": list, "ratios": list}
ROW_KEYS = {"system", "payload", "metric", "p50", "p90", "p99", "min", "unit"}
RATIO_KEYS = {"of", "to", "payload", "metric", "value"}
Cell = tuple[str, str]  # system, payload


class ResultError(ValueError):
    """A result file that is not what design says; the message names the place."""


class Samples:
    """What was measured: one number for each round, system, payload and metric."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)

    def add(self, system: str, payload: str, metric: str, value: float) -> None:
        """Adds the next round's value."""
        self._values[system, payload, metric].append(value)

    def values(self, system: str, payload: str, metric: str) -> list[float]:
        """One value for each round; none when it was not measured."""
        return list(self._values.get((system, payload, metric), ()))

    def keep_best(self, variants: Sequence[str], system: str, payload: str, metric: str) -> str:
        """Calls the variant whose median of `metric` (smaller is better) is best `system`, forgets the others."""
        best = min(variants, key=lambda each: statistics.median(self.values(each, payload, metric)))
        for key in [key for key in self._values if key[0] in variants and key[1] == payload]:
            values = self._values.pop(key)
            if key[0] == best:
                self._values[system, *key[1:]] = values
        return best

    def rows(self) -> list[dict[str, Any]]:
        """The rows of a result file, in the order in which they were first measured."""
        return [row(*key, values) for key, values in self._values.items()]

    def ratios(self, metric: str, pairs: Iterable[tuple[Cell, Cell]]) -> list[dict[str, Any]]:
        """The ratios of a result file for those pairs of which both sides were measured."""
        found = []
        for of, to in pairs:
            numerators, denominators = self.values(*of, metric), self.values(*to, metric)
            if numerators and denominators:
                found.append(ratio(metric, of, to, numerators, denominators))
        return found


def row(system: str, payload: str, metric: str, values: Sequence[float]) -> dict[str, Any]:
    """One row: median, nearest-rank p90 and p99, and minimum of `values`, to four digits after the point."""
    ordered = sorted(values)
    ranks = {f"p{share}": ordered[math.ceil(share / 100 * len(ordered)) - 1] for share in (90, 99)}
    figures = {"p50": statistics.median(ordered), **ranks, "min": ordered[0]}
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return {"system": system, "payload": payload, "metric": metric, **rounded, "unit": unit_of(metric)}


def ratio(metric: str, of: Cell, to: Cell, numerators: Sequence[float], denominators: Sequence[float]) -> Any:
    """The median of the per-round ratios: what the machine does to one round, it does to both sides."""
    value = statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))
    entry = {"of": of[0], "to": to[0], "payload": of[1], "metric": metric, "value": round(value, 4)}
    return entry if of[1] == to[1] else {**entry, "to_payload": to[1]}


def unit_of(metric: str) -> str:
    """The unit that the end of a metric's name says."""
    for ending, unit in UNITS.items():
        if metric.endswith(ending):
            return unit
    raise ResultError(f"the metric {metric!r} should end with its unit: {', '.join(UNITS)}")


def check(document: Any) -> dict[str, Any]:
    """The document itself if it is a result file; ResultError names the first thing that is not as it should be."""
    if not isinstance(document, dict) or set(document) != set(KEYS):
        raise ResultError(f"a result file has the keys {sorted(KEYS)}")
    for key, kind in KEYS.items():
        if not isinstance(document[key], kind):
            raise ResultError(f"{key} should be a {kind.__name__}, not {document[key]!r}")
    if document["runs"] < 1 or not document["rows"]:
        raise ResultError("a result file has at least one run and one row")
    for entry in document["rows"]:
        if set(entry) != ROW_KEYS or entry["unit"] != unit_of(entry["metric"]):
            raise ResultError(f"a row has the keys {sorted(ROW_KEYS)} and its metric's unit; here is {entry}")
        figures = [entry[name] for name in ("min", "p50", "p90", "p99")]
        if not all(math.isfinite(figure) and figure >= 0 for figure in figures) or figures != sorted(figures):
            raise ResultError(f"min, p50, p90 and p99 should be finite, not negative and rising; here is {entry}")
    cells = {(entry["system"], entry["payload"], entry["metric"]) for entry in document["rows"]}
    if len(cells) != len(document["rows"]):
        raise ResultError("two rows have the same system, payload and metric")
    for entry in document["ratios"]:
        if set(entry) - {"to_payload"} != RATIO_KEYS or not math.isfinite(entry["value"]) or entry["value"] <= 0:
            raise ResultError(f"a ratio has the keys {sorted(RATIO_KEYS)} and a value above 0; here is {entry}")
        of = (entry["of"], entry["payload"], entry["metric"])
        to = (entry["to"], entry.get("to_payload", entry["payload"]), entry["metric"])
        if not {of, to} <= cells:
            raise ResultError(f"the ratio {entry} has a side without a row")
    return document


def find(document: dict[str, Any], system: str, payload: str, metric: str) -> dict[str, Any] | None:
    """The document's row of that cell and metric; None when there is no such row."""
    for entry in document["rows"]:
        if (entry["system"], entry["payload"], entry["metric"]) == (system, payload, metric):
            return dict(entry)
    return None


def p50(document: dict[str, Any], system: str, payload: str, metric: str) -> float | None:
    """The median in that row; None when there is no such row."""
    entry = find(document, system, payload, metric)
    return None if entry is None else float(entry["p50"])


def read(path: Path) -> dict[str, Any]:
    """A result file, checked; OSError or ResultError."""
    try:
        return check(json.loads(path.read_bytes()))
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from error


def write(path: Path, document: dict[str, Any]) -> None:
    """Checks the document, then puts it in place of what was at `path`, whole or not at all."""
    write_text(path, json.dumps(check(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Puts a text file in its place, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
