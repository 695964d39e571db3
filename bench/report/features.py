"""The result file of entity features as blocks of docs/benchmarks.md and as charts."""

from __future__ import annotations

from typing import Any

from bench import results
from bench.charts import bars, lines
from bench.charts.svg import COLOURS
from bench.cold import summary as cold_summary
from bench.cold.run import PHASES
from bench.cold.systems import RIE
from bench.features import beside_feast, cold, cost, hits, tiers
from bench.features.beside_feast import FEAST, IMPORT, PYTHON
from bench.features.setup import P50, P99, THROUGHPUT
from bench.report.markdown import number, table
from bench.servers import OURS

TIERS = {
    tiers.SENT: "none: the request has all columns",
    tiers.MEMORY: "memory",
    tiers.REDIS: "Redis",
    tiers.DATABASE: "PostgreSQL",
}
COLD = {
    cold.NO_LOOKUP: "no lookup: the request has all columns",
    cold.FILE: "from a file beside the model",
    cold.STORE: "from Redis, connected during INIT",
}


def beside(document: dict[str, Any]) -> str:
    """Both servers under load; ours with its memory and without."""
    rows = []
    for payload in beside_feast.PAYLOADS:
        for system in (FEAST, OURS):
            speed = results.p50(document, system, payload, THROUGHPUT)
            if speed is not None:
                cpu = results.p50(document, system, payload, "server_cpu_per_request_ms")
                latency = (results.p50(document, system, payload, each) for each in (P50, P99))
                rows.append((payload, system, number(speed), *map(number, latency), number(cpu)))
    return table(("payload", "system", "requests/s", "p50, ms", "p99, ms", "CPU ms/request"), rows)


def footprint(document: dict[str, Any]) -> str:
    """What importing each costs, and the memory of each server after the load."""
    rows = []
    for system in (FEAST, OURS, PYTHON):
        own = [results.p50(document, system, IMPORT, each) for each in ("import_ms", "import_rss_mb")]
        idle = [results.p50(document, system, "features-1", each) for each in ("idle_rss_mb", "idle_pss_mb")]
        rows.append((system, *map(number, own), *map(number, idle)))
    return table(("system", "import, ms", "peak RSS then, MB", "server idle, RSS", "server idle, PSS"), rows)


def by_tier(document: dict[str, Any]) -> str:
    """One request at a time in this process, and ten clients of the server."""
    rows = []
    for payload, tier in TIERS.items():
        row = results.find(document, tiers.PROCESS, payload, tiers.LOOKUP) or {}
        alone = [row.get("p50"), row.get("p99")]
        alone += [results.p50(document, tiers.PROCESS, payload, each) for each in (tiers.INFER, tiers.REQUEST)]
        loaded = [results.p50(document, OURS, payload, each) for each in (THROUGHPUT, P99)]
        rows.append((tier, *map(number, alone), *map(number, loaded)))
    heads = ("features from", "lookup, ms", "its p99", "inference, ms", "all of a request, ms")
    return table((*heads, "scores/s, 10 clients", "p99, ms"), rows)


def costs(document: dict[str, Any]) -> str:
    """US dollars for a million scores by tier and scores a month."""
    found = {each: cost.costs(document, each) for each in cost.MILLIONS}
    rows = []
    for index, first in enumerate(found[cost.MILLIONS[0]]):
        totals = [f"{found[each][index].total:.2f}" for each in cost.MILLIONS]
        rows.append((first.tier, str(first.milliseconds), *totals))
    heads = [f"US$ at {each} million a month" for each in cost.MILLIONS]
    return table(("features from", "billed ms", *heads), rows)


def cold_starts(document: dict[str, Any]) -> str:
    """First predictions of the fraud function, by phase."""
    rows = []
    for payload, about in COLD.items():
        first, peak = (results.p50(document, RIE, payload, each) for each in (cold_summary.FIRST, "peak_rss_mb"))
        phases = cold_summary.phases(document, RIE, payload)
        rows.append((about, number(first), number(peak), ", ".join(f"{k} {number(ms)}" for k, ms in phases.items())))
    return table(("features", "first prediction, ms", "peak RSS, MB", "phases, ms"), rows)


def charts(document: dict[str, Any]) -> dict[str, str]:
    """File name -> SVG: lookups by tier, hits by size, cost by tier, cold starts by phase."""
    drawn = {}
    if lookups := _lookups(document):
        drawn["features_lookup.svg"] = lookups
    if points := list(hits.points(document)):
        drawn["features_hits.svg"] = _hits(document, points)
    if cost.costs(document, 1):
        drawn["features_cost.svg"] = _costs(document)
    if any(cold_summary.phases(document, RIE, payload) for payload in COLD):
        drawn["features_cold.svg"] = _cold(document)
    return drawn


def _lookups(document: dict[str, Any]) -> str:
    groups = []
    for heading, key in (("median", "p50"), ("99 of 100 stay below", "p99")):
        found = {tier: results.find(document, tiers.PROCESS, each, tiers.LOOKUP) for each, tier in TIERS.items()}
        made = [bars.Bar(tier, {tier: row[key]}, row[key]) for tier, row in found.items() if row]
        groups.append(bars.Group(heading, made))
    if not groups[0].bars:
        return ""
    about = document["machine"]
    note = (
        f"28 features of one card, joined into the model's input; {about['lookups']:,} of each, one at a time.\n"
        f"The stores are on the same machine ({about['cpu']}); a network's round trip comes on top."
    )
    return bars.chart("What a lookup takes, by tier", note, "ms", groups, tuple(TIERS.values()))


def _hits(document: dict[str, Any], points: list[tuple[str, int, float]]) -> str:
    series = []
    for payload, colour in zip(hits.PAYLOADS, (COLOURS[1], COLOURS[2], COLOURS[5]), strict=True):
        line = [(size, share) for each, size, share in points if each == payload]
        series.append(lines.Series(f"skew {payload.removeprefix('zipf-')}", line, colour))
    about = document["machine"]
    note = (
        f"{about['cards_by_zipf']:,} cards, number r is asked for in proportion to 1 / r^skew; rows of 28 numbers.\n"
        f"FEATURES_CACHE_BYTES is {about['memory_default_mb']:g} MB unless it is set. No row grows too old meanwhile."
    )
    return lines.chart("Lookups that memory answers, by its size", note, "MB of memory", "%", series)


def _costs(document: dict[str, Any]) -> str:
    groups = []
    for millions in cost.MILLIONS[1:]:
        made = [
            bars.Bar(each.tier.partition(",")[0], dict(zip(cost.PARTS, each.parts, strict=True)), round(each.total, 2))
            for each in cost.costs(document, millions)
        ]
        groups.append(bars.Group(f"{millions} million scores a month", made))
    note = (
        f"List prices of US East (N. Virginia); {cost.CARDS:,} cards, 1,769 MB of Lambda, a lookup for each score.\n"
        f"Measured requests; {cost.VPC_MS} ms assumed for a round trip within a VPC, {cost.DYNAMODB_MS:g} for DynamoDB."
    )
    return bars.chart("What a million scores cost, by tier", note, "US$", groups, cost.PARTS)


def _cold(document: dict[str, Any]) -> str:
    made = []
    for payload, about in COLD.items():
        if (first := results.p50(document, RIE, payload, cold_summary.FIRST)) is not None:
            label = about.partition(":")[0].partition(",")[0].partition(" beside")[0]
            made.append(bars.Bar(label, cold_summary.phases(document, RIE, payload), first))
    note = (
        f"Medians of {document['machine']['cold_starts']} cold starts in AWS's emulator, in turns; "
        "features: the lookup, with the imports that it needs.\n"
        "Each phase's median is its own, so a bar need not be as long as the whole's median, the number at its end."
    )
    title = "The fraud function from process spawn to its first score"
    return bars.chart(title, note, "ms", [bars.Group("one payment, JSON", made)], PHASES)
