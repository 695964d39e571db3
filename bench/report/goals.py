"""The goals of the benchmarks beside what was measured."""

from __future__ import annotations

from typing import Any, NamedTuple

from bench import results
from bench.cold.http_systems import SERVER
from bench.cold.rivals import GO_ARTIFACT, GO_INIT, GO_OVERLAPPED, NAIVE
from bench.cold.systems import PROCESS, RIE
from bench.features import tiers
from bench.features.beside_feast import FEAST
from bench.load.tally import FLOOR, P99, THROUGHPUT
from bench.memory import summary
from bench.payloads import NESTED
from bench.report.markdown import NONE, number, table
from bench.servers import FASTAPI, GO, OURS

FIRST_MS = "first_prediction_ms"
UNLIKE = "unlike things"  # that goal was set before there was a like one to compare with
AT_LEAST, AT_MOST = "≥", "≤"


class Goal(NamedTuple):
    """A bound for a ratio in the result file `key`."""

    key: str
    what: str
    metric: str
    of: tuple[str, str]  # system, payload
    to: tuple[str, str]
    sense: str
    bound: float


RATIOS = (
    Goal("load", "throughput", THROUGHPUT, (OURS, NESTED), (GO, NESTED), AT_LEAST, 5),
    Goal("load", "throughput", THROUGHPUT, (OURS, NESTED), (FASTAPI, NESTED), AT_LEAST, 6),
    Goal("load", "p99 latency", P99, (OURS, NESTED), (GO, NESTED), AT_MOST, 0.25),
    Goal("load", "throughput", THROUGHPUT, (OURS, NESTED), (GO, NESTED), AT_LEAST, 3.6),
    Goal("load", "p99 latency", P99, (OURS, NESTED), (GO, NESTED), AT_MOST, 0.28),
    Goal("load", "throughput", THROUGHPUT, (OURS, NESTED), (FLOOR, "binary"), AT_LEAST, 0.55),
    Goal("load", "throughput", THROUGHPUT, (OURS, NESTED), (FLOOR, "binary"), AT_LEAST, 0.5),
    Goal("load", "throughput", THROUGHPUT, (OURS, "binary"), (FLOOR, "binary"), AT_LEAST, 0.85),
    Goal("load", "throughput", THROUGHPUT, (OURS, "binary"), (FLOOR, "binary"), AT_LEAST, 0.9),
    Goal("memory", "peak RSS", "peak_rss_mb", (OURS, NESTED), (GO, NESTED), AT_MOST, 0.6),
    Goal("memory", "peak RSS", "peak_rss_mb", (OURS, NESTED), (GO, NESTED), AT_MOST, 0.62),
    Goal("memory", "peak RSS", "peak_rss_mb", (OURS, NESTED), (FASTAPI, NESTED), AT_MOST, 0.25),
    Goal("memory", "idle RSS after load", "idle_rss_mb", (OURS, NESTED), (GO, NESTED), AT_MOST, 1),
    Goal("features", "throughput", THROUGHPUT, (OURS, "features-1"), (FEAST, "features-1"), AT_LEAST, 10),
    Goal("features", "throughput", THROUGHPUT, (OURS, "features-100"), (FEAST, "features-100"), AT_LEAST, 10),
    Goal("features", "p99 latency", P99, (OURS, "features-1"), (FEAST, "features-1"), AT_MOST, 0.15),
    Goal("features", "p99 latency", P99, (OURS, "features-100"), (FEAST, "features-100"), AT_MOST, 0.15),
    Goal("cold", "first prediction", FIRST_MS, (RIE, NESTED), (GO_INIT, NESTED), AT_MOST, 0.62),
    Goal("cold", "first prediction", FIRST_MS, (RIE, "binary"), (GO_INIT, "binary"), AT_MOST, 0.88),
    Goal("cold", "first prediction", FIRST_MS, (RIE, NESTED), (GO_OVERLAPPED, NESTED), AT_MOST, 0.88),
    Goal("cold", "first prediction", FIRST_MS, (RIE, "binary"), (GO_OVERLAPPED, "binary"), AT_MOST, 0.95),
    Goal("cold", "first prediction", FIRST_MS, (RIE, "binary"), (GO_ARTIFACT, "binary"), AT_MOST, 1.2),
    Goal("cold", "first prediction", FIRST_MS, (RIE, NESTED), (NAIVE, NESTED), AT_MOST, 0.45),
    Goal("cold", "first prediction", FIRST_MS, (SERVER, NESTED), (GO, NESTED), AT_MOST, 1),
    Goal("cold", "first prediction", FIRST_MS, (SERVER, "binary"), (GO, "binary"), AT_MOST, 1),
    Goal("cold", "first prediction", FIRST_MS, (PROCESS, "binary"), (FLOOR, "binary"), AT_MOST, 1.15),
    Goal("cold", f"{UNLIKE}, first prediction", FIRST_MS, (RIE, NESTED), (GO, NESTED), AT_MOST, 0.9),
    Goal("cold", f"{UNLIKE}, first prediction", FIRST_MS, (PROCESS, NESTED), (GO, NESTED), AT_MOST, 0.65),
    Goal("cold", f"{UNLIKE}, first prediction", FIRST_MS, (PROCESS, "binary"), (GO, NESTED), AT_MOST, 0.5),
)
LONG_RUN_GROWTH = 0.03
EXTRA_WORKER_MB = (30.0, 20.0)
LOOKUP_MS = {tiers.MEMORY: 0.2, tiers.REDIS: 1.5}


def goals(documents: dict[str, dict[str, Any]]) -> str:
    """A table of all goals: bound, what was measured, and whether that reaches it."""
    rows: list[tuple[str, ...]] = []
    for goal in RATIOS:
        value = _ratio(documents.get(goal.key), goal)
        sides = f"{' '.join(goal.of)} / {' '.join(goal.to)}"
        rows.append((goal.what, sides, f"{goal.sense} {goal.bound:g}", *_verdict(value, goal.sense, goal.bound)))
    memory = documents.get("memory")
    if memory:
        points = summary.long_run(memory).get(OURS)
        growth = summary.growth(points) if points else None
        rows.append(_line("RSS after 2,000 requests", "to that after the first 100", growth, LONG_RUN_GROWTH, "%"))
        extra = summary.extra_worker(memory).get("pss")
        rows += [_line("PSS of each further worker", PROCESS, extra, bound, " MB") for bound in EXTRA_WORKER_MB]
    if found := documents.get("features"):
        for payload, bound in LOOKUP_MS.items():
            lookup = results.p50(found, tiers.PROCESS, payload, tiers.LOOKUP)
            rows.append(_line("a lookup adds to a score", payload, lookup, bound, " ms"))
    return table(("what", "of / to", "goal", "measured", "reached"), rows)


def _line(what: str, sides: str, value: float | None, bound: float, unit: str) -> tuple[str, ...]:
    factor = 100 if unit == "%" else 1
    _, reached = _verdict(value, AT_MOST, bound)
    measured = NONE if value is None else f"{number(value * factor)}{unit}"
    return what, sides, f"{AT_MOST} {bound * factor:g}{unit}", measured, reached


def _ratio(document: dict[str, Any] | None, goal: Goal) -> float | None:
    for entry in (document or {"ratios": []})["ratios"]:
        to = (entry["to"], entry.get("to_payload", entry["payload"]))
        if (entry["metric"], (entry["of"], entry["payload"]), to) == (goal.metric, goal.of, goal.to):
            return float(entry["value"])
    return None


def _verdict(value: float | None, sense: str, bound: float) -> tuple[str, str]:
    if value is None:
        return NONE, "not measured"
    reached = value >= bound if sense == AT_LEAST else value <= bound
    return number(value), "yes" if reached else "no"
