"""The load and ladder result files as blocks of docs/benchmarks.md and as charts."""

from __future__ import annotations

from typing import Any

from bench import results
from bench.charts import bars, lines
from bench.charts.svg import COLOURS
from bench.load import ladder
from bench.load.tally import FLOOR, LATENCY, PUBLISHED, STEADY, THROUGHPUT
from bench.payloads import NESTED
from bench.report.markdown import number, table
from bench.servers import FASTAPI, GO, OURS

# Colours by place, the same in all charts: grey, orange, lilac, green.
ORDER = (FLOOR, "", GO, "", FASTAPI, OURS)
# As printed on goserve.pages.dev/benchmarks: requests per second, p50 and p99 in ms.
CLAIMED = {"GoServe": (31.6, 310.1, 410.8), "FastAPI, 4 workers": (4.5, 2126.4, 2150.0)}


def published(document: dict[str, Any]) -> str:
    """The published table with what the same method gives here, below it."""
    rows = [(name, "published", *map(number, figures)) for name, figures in CLAIMED.items()]
    for system in (GO, FASTAPI, OURS):
        speed = results.p50(document, system, NESTED, PUBLISHED + THROUGHPUT)
        latency = _latency(document, system, NESTED, PUBLISHED)
        if speed is None or latency is None:
            rows.append((system, "here", "not run", "", ""))
        else:
            rows.append((system, "here", number(speed), number(latency["p50"]), number(latency["p99"])))
    return table(("system", "where", "requests/s", "p50, ms", "p99, ms"), rows)


def steady(document: dict[str, Any]) -> str:
    """Every system and payload: throughput, latencies, CPU time."""
    rows = []
    for system, payload in cells(document):
        latency = _latency(document, system, payload, STEADY)
        assert latency is not None
        own, generator = (
            results.p50(document, system, payload, f"{side}_cpu_per_request_ms") for side in ("server", "generator")
        )
        figures = (results.p50(document, system, payload, THROUGHPUT), latency["p50"], latency["p90"], latency["p99"])
        rows.append((payload, system, *map(number, figures), number(own), number(generator)))
    heads = ("payload", "system", "requests/s", "p50, ms", "p90, ms", "p99, ms", "CPU ms/request", "generator's")
    return table(heads, rows)


def phases(document: dict[str, Any]) -> str:
    """What a request of ours is made of: by its own Server-Timing, and the CPU time that this does not explain."""
    rows = []
    for system, payload in cells(document):
        parts = [results.p50(document, system, payload, f"{name}_ms") for name in ("decode", "infer", "encode")]
        own = results.p50(document, system, payload, "server_cpu_per_request_ms")
        if own is None or None in parts:
            continue
        rows.append((payload, *map(number, parts), number(own), number(own - sum(part or 0 for part in parts))))
    return table(("payload", "decode, ms", "infer, ms", "encode, ms", "CPU ms/request", "the rest of it"), rows)


def charts(document: dict[str, Any]) -> dict[str, str]:
    """File name -> SVG: throughput and p99 of the steady run."""
    about = document["machine"]
    note = (
        f"{about['clients']} clients, {about['steady_seconds']:g} s, medians of {document['runs']} interleaved rounds. "
        f"{about['cores']} cores ({about['cpu']})."
    )
    speed, slow = [], []
    for payload in dict.fromkeys(payload for _, payload in cells(document)):
        fast_bars, slow_bars = [], []
        for system in (each for each, of in cells(document) if of == payload):
            rate, latency = results.p50(document, system, payload, THROUGHPUT), _latency(document, system, payload, "")
            assert rate is not None
            assert latency is not None
            fast_bars.append(bars.Bar(system, {system: rate}, rate))
            slow_bars.append(bars.Bar(system, {system: latency["p99"]}, latency["p99"]))
        speed.append(bars.Group(payload, fast_bars))
        slow.append(bars.Group(payload, slow_bars))
    return {
        "load_throughput.svg": bars.chart("Requests answered per second", note, "1/s", speed, ORDER),
        "load_p99.svg": bars.chart("Latency that 99 of 100 requests stay below", note, "ms", slow, ORDER),
    }


def ladder_charts(document: dict[str, Any]) -> dict[str, str]:
    """File name -> SVG: throughput and p99 by clients and cores."""
    about = document["machine"]
    note = f"json-nested, {about['seconds']:g} s each. Dashed: fewer cores. {about['cpu']}."
    colour = {name: COLOURS[index] for index, name in enumerate(ORDER)}
    found: dict[str, dict[tuple[str, int], list[tuple[int, float]]]] = {}
    for system, kind, clients, cores, value in ladder.points(document):
        found.setdefault(kind, {}).setdefault((system, cores), []).append((clients, value))
    drawn = {
        kind: [
            lines.Series(f"{system}, {_cores(cores)}", points, colour[system], dashed=cores < about["cores"])
            for (system, cores), points in found[kind].items()
        ]
        for kind in ("throughput", "p99")
    }
    return {
        "ladder_throughput.svg": lines.chart(
            "Requests per second by clients", note, "clients", "1/s", drawn["throughput"]
        ),
        "ladder_p99.svg": lines.chart("p99 by clients", note, "clients", "ms", drawn["p99"]),
    }


def ladder_table(document: dict[str, Any]) -> str:
    """Throughput, p99, CPU time and memory by system, cores and clients."""
    found: dict[tuple[str, int, int], dict[str, float]] = {}
    for system, kind, clients, cores, value in ladder.points(document):
        found.setdefault((system, cores, clients), {})[kind] = value
    rows = [
        (system, str(cores), str(clients), *(number(kinds[kind]) for kind in ("throughput", "p99", "cpu", "rss")))
        for (system, cores, clients), kinds in sorted(found.items())
    ]
    return table(("system", "cores", "clients", "requests/s", "p99, ms", "CPU ms/request", "RSS after, MB"), rows)


def cells(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(system, payload) of the steady run, by payload as first measured."""
    found = [(row["system"], row["payload"]) for row in document["rows"] if row["metric"] == THROUGHPUT]
    places = {payload: place for place, payload in enumerate(dict.fromkeys(payload for _, payload in found))}
    return sorted(found, key=lambda cell: places[cell[1]])


def _latency(document: dict[str, Any], system: str, payload: str, method: str) -> dict[str, Any] | None:
    return results.find(document, system, payload, method + LATENCY)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"
