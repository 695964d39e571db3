"""The cold-start result file as a reader sees it: tables in the terminal, a chart of the phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import results
from bench.charts import bars
from bench.cold.run import PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIRST = "first_prediction_ms"
TOP_FILES = 12
HEADINGS = {
    "json-nested": "json-nested: 1x3x224x224 doubles as nested JSON, 3.1 MB",
    "json-flat": "json-flat: the same numbers as a flat JSON list, 3.1 MB",
    "binary": "binary: the same numbers as raw FP32, 0.6 MB",
    "jpeg": "jpeg: a photograph of 100 kB",
}


def cells(document: dict[str, Any]) -> dict[str, list[str]]:
    """Payload -> the systems that were measured with it."""
    found: dict[str, list[str]] = {}
    for row in document["rows"]:
        if row["metric"] == FIRST:
            found.setdefault(row["payload"], []).append(row["system"])
    return found


def phases(document: dict[str, Any], system: str, payload: str) -> dict[str, float]:
    """The medians of the phases, in ms; their sum is near the median of the whole, not equal to it."""
    medians = {name: results.p50(document, system, payload, f"{name}_ms") for name in PHASES}
    return {name: value for name, value in medians.items() if value is not None}


def chart(document: dict[str, Any]) -> str:
    """The phases side by side, as SVG."""
    groups = []
    for payload, systems in cells(document).items():
        drawn = []
        for system in systems:
            total = results.p50(document, system, payload, FIRST)
            assert total is not None
            drawn.append(bars.Bar(system, phases(document, system, payload), total))
        groups.append(bars.Group(HEADINGS[payload], drawn))
    machine, versions = document["machine"], document["versions"]
    note = (
        f"Medians of {document['runs']} interleaved cold starts, page cache {machine['page_cache']}. "
        f"{machine['cores']} cores ({machine['cpu']}), ONNX Runtime {versions['onnxruntime']}.\n"
        "naive-lambda-rie loads its model among its imports; start: a plain server until it takes a connection; "
        "request: all of a handler's work.\n"
        "Each phase's median is its own, so a bar need not be as long as the whole's median, the number at its end."
    )
    return bars.chart("From process spawn to the first correct prediction", note, "ms", groups, PHASES)


def table(document: dict[str, Any]) -> str:
    """Medians, phases, memory, and the ratios."""
    lines = []
    for payload, systems in cells(document).items():
        lines.append(f"\n{HEADINGS.get(payload, payload)}")
        for system in systems:
            figures = {name: results.p50(document, system, payload, name) for name in (FIRST, "peak_rss_mb")}
            made_of = ", ".join(f"{name} {ms:.1f}" for name, ms in phases(document, system, payload).items())
            lines.append(f"  {system:<23}{figures[FIRST]:>7.1f} ms {figures['peak_rss_mb']:>6.1f} MB  {made_of}")
    if lines_of_ratios := [
        f"  {entry['of']} {entry['payload']} / {entry['to']} {entry.get('to_payload', entry['payload'])}: "
        f"{entry['value']:.2f}"
        for entry in document["ratios"]
    ]:
        lines += ["\nratios (medians of each round's)", *lines_of_ratios]
    if peer := document["versions"].get("goserve-peer"):
        lines.append(f"\ngoserve-peer: {peer}")
    return "\n".join(lines)


def files_table(document: dict[str, Any], files: Mapping[str, Mapping[Path, int]]) -> str:
    """The bytes of files that a cold start touched, and the files with most of them."""
    lines = []
    for payload, touched in files.items():
        metrics = ("files_touched_mb", "deployed_files_touched_mb")
        whole, own = (results.p50(document, "zeroserve-process", payload, metric) for metric in metrics)
        lines.append(f"\nfiles touched, {payload}: {whole:.1f} MB of {len(touched)} files; deployed ones: {own:.1f} MB")
        best = sorted(touched.items(), key=lambda item: -item[1])[:TOP_FILES]
        lines += [f"  {size / 1e6:>6.2f} MB  {path.parent.name}/{path.name}" for path, size in best]
    return "\n".join(lines)
