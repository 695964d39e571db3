"""The memory result file as a reader sees it."""

from __future__ import annotations

import re
from typing import Any

STAGES = {
    "start_rss_mb": "after the start",
    "one_request_rss_mb": "after one request",
    "peak_rss_mb": "peak, 10 clients",
    "idle_rss_mb": "idle after that",
    "idle_pss_mb": "idle, PSS",
    "idle_anon_mb": "of it anonymous",
}
_LONG = re.compile(r"rss_after_(\d+)_requests_mb")
_WORKERS = re.compile(r"(pss|rss)_of_(\d+)_workers_mb")


def stages(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    """System -> metric of STAGES -> MB."""
    found: dict[str, dict[str, float]] = {}
    for row in document["rows"]:
        if row["metric"] in STAGES:
            found.setdefault(row["system"], {})[row["metric"]] = row["p50"]
    return dict(sorted(found.items()))


def long_run(document: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """System -> (requests so far, RSS in MB)."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in document["rows"]:
        if match := _LONG.fullmatch(row["metric"]):
            found.setdefault(row["system"], []).append((int(match[1]), row["p50"]))
    return found


def growth(points: list[tuple[int, float]]) -> float:
    """How much larger the last value is than the first, as a share; negative where it shrank."""
    return points[-1][1] / points[0][1] - 1


def workers(document: dict[str, Any]) -> dict[int, dict[str, float]]:
    """Number of worker processes -> "pss", "rss" of all together in MB."""
    found: dict[int, dict[str, float]] = {}
    for row in document["rows"]:
        if match := _WORKERS.fullmatch(row["metric"]):
            found.setdefault(int(match[2]), {})[match[1]] = row["p50"]
    return found


def extra_worker(document: dict[str, Any]) -> dict[str, float]:
    """MB that each worker beyond the first adds: "pss", and the part of it that is "anon"ymous."""
    endings = {f"{kind}_per_extra_worker_mb": kind for kind in ("pss", "anon")}
    return {endings[row["metric"]]: row["p50"] for row in document["rows"] if row["metric"] in endings}


def table(document: dict[str, Any]) -> str:
    """Stages, the long run, the worker processes and the ratios, for a terminal."""
    lines = ["\nMB, summed over a server's processes"]
    for system, found in stages(document).items():
        lines.append(f"  {system:<16}" + ", ".join(f"{STAGES[each]} {value:.1f}" for each, value in found.items()))
    for system, points in long_run(document).items():
        (first, before), (last, after) = points[0], points[-1]
        lines.append(
            f"  {system:<16}{before:.1f} after {first} requests, {after:.1f} after {last}: {growth(points):+.1%}"
        )
    for count, sums in workers(document).items():
        lines.append(f"  {count:>2} worker processes: PSS {sums['pss']:.1f}, sum of RSS {sums['rss']:.1f}")
    if extra := extra_worker(document):
        lines.append(f"  each worker beyond the first: PSS {extra['pss']:.1f}, of it anonymous {extra['anon']:.1f}")
    lines.append("\nratios (medians of each round's)")
    lines += [f"  {each['metric']}: {each['of']} / {each['to']}: {each['value']:.2f}" for each in document["ratios"]]
    if peer := document["versions"].get("goserve-peer"):
        lines.append(f"\ngoserve-peer: {peer}")
    return "\n".join(lines)
