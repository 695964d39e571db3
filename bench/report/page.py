"""The result files as docs/benchmarks.md and its charts."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Any

from bench import results
from bench.cold import summary
from bench.report import features, goals, load, memory
from bench.report.markdown import NONE, number, table
from bench.servers import GO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {"cold": "cold_start", "load": "load", "ladder": "ladder", "memory": "memory", "features": "features"}
Documents = dict[str, dict[str, Any]]


def read(folder: Path) -> Documents:
    """The result files that are there, by the keys of FILES; ResultError for one that is damaged."""
    paths = {key: folder / f"{name}.json" for key, name in FILES.items()}
    return {key: results.read(path) for key, path in paths.items() if path.exists()}


def page(documents: Documents, template: str, notes: str) -> tuple[str, dict[str, str]]:
    """The page, and its charts as SVG by file name. `notes` are what a person says about the figures."""
    charts: dict[str, str] = {}

    def block(key: str, text: Callable[[dict[str, Any]], str], *names: str) -> str:
        """The text, and below it those of the charts with these names."""
        if key not in documents:
            return f"Not measured: `make bench-{key}`."
        shown = [f"![{name.removesuffix('.svg').replace('_', ' ')}](img/{name})" for name in names if name in charts]
        return "\n\n".join(filter(None, [text(documents[key]), *shown]))

    if "load" in documents:
        charts |= load.charts(documents["load"])
    if "ladder" in documents:
        charts |= load.ladder_charts(documents["ladder"])
    if "memory" in documents:
        charts |= memory.charts(documents["memory"])
    if "features" in documents:
        charts |= features.charts(documents["features"])
    if "cold" in documents:
        charts["cold_start.svg"] = summary.chart(documents["cold"])
    go, fastapi = (figures[0] for figures in load.CLAIMED.values())
    about = documents.get("load", {}).get("machine", {})
    about_features = documents.get("features", {}).get("machine", {})
    blocks = {
        "machine": machine(documents),
        "goals": goals.goals(documents),
        "notes": notes.strip(),
        "claimed_ratio": number(go / fastapi),
        "published": block("load", load.published),
        "steady_seconds": f"{about.get('steady_seconds', 30):g}",
        "steady": block("load", load.steady, "load_throughput.svg", "load_p99.svg"),
        "phases": block("load", load.phases),
        "ladder": block("ladder", load.ladder_table, "ladder_throughput.svg", "ladder_p99.svg"),
        "memory": block("memory", memory.stages, "memory_stages.svg"),
        "long_run": block("memory", memory.long_run, "memory_long_run.svg"),
        "workers": block("memory", memory.workers),
        "cold": block("cold", cold, "cold_start.svg"),
        "features_cards": f"{about_features.get('cards', 0):,} cards",
        "features_seconds": f"{about_features.get('slot_seconds', 0):g}",
        "features_beside": block("features", features.beside),
        "features_footprint": block("features", features.footprint),
        "features_by_tier": block("features", features.by_tier, "features_lookup.svg"),
        "features_hits": block("features", lambda _: "", "features_hits.svg"),
        "features_cost": block("features", features.costs, "features_cost.svg"),
        "features_cold": block("features", features.cold_starts, "features_cold.svg"),
        "idle_share": f"{about.get('idle_servers_share_of_a_core', 0):.1%}",
    }
    return Template(template).substitute(blocks), charts


def cold(document: dict[str, Any]) -> str:
    """First predictions: medians, memory and phases."""
    rows = []
    for payload, systems in summary.cells(document).items():
        for system in systems:
            first, peak = (results.p50(document, system, payload, each) for each in (summary.FIRST, "peak_rss_mb"))
            made_of = ", ".join(
                f"{name} {number(ms)}" for name, ms in summary.phases(document, system, payload).items()
            )
            rows.append((payload, system, number(first), number(peak), made_of))
    return table(("payload", "system", "first prediction, ms", "peak RSS, MB", "phases, ms"), rows)


def machine(documents: Documents) -> str:
    """What was measured on and with, each said once if it is the same in all files; and what differs, by file."""
    hardware, software, rows = [], [], []
    for key, document in documents.items():
        about = document["machine"]
        versions = dict(document["versions"])
        peer = versions.pop(GO, NONE)
        hardware.append(f"{about['cores']} cores of {about['cpu']} ({about['cpu_family']}), {about['memory_gb']} GB")
        hardware[-1] += f", {about['system']}"
        software.append(", ".join(f"{name} {version}" for name, version in versions.items()))
        rows.append((f"bench/results/{FILES[key]}.json", str(document["runs"]), f"{about['load_before']:.1f}", peer))
    said = [f"- Machine: {each}" for each in dict.fromkeys(hardware)]
    said += [f"- Versions: {each}" for each in dict.fromkeys(software)]
    return "\n".join([*said, "", table(("results", "rounds", "load average before", "setting of goserve-peer"), rows)])
