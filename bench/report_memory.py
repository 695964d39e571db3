"""The memory result file as blocks of docs/benchmarks.md and as charts."""

from __future__ import annotations

from typing import Any

from bench import lines, memory_report, plots
from bench.markdown import NONE, number, table
from bench.report_load import ORDER


def stages(document: dict[str, Any]) -> str:
    """MB of each server at each stage."""
    rows = [
        (system, *(number(found.get(metric)) for metric in memory_report.STAGES))
        for system, found in memory_report.stages(document).items()
    ]
    return table(("system", *memory_report.STAGES.values()), rows)


def long_run(document: dict[str, Any]) -> str:
    """RSS after the first hundred requests and after the last."""
    rows = []
    for system, points in memory_report.long_run(document).items():
        (first, before), (last, after) = points[0], points[-1]
        change = f"{memory_report.growth(points):+.1%}"
        rows.append((system, f"{first}: {number(before)} MB", f"{last}: {number(after)} MB", change))
    return table(("system", "after the first requests", "after the last", "change"), rows)


def workers(document: dict[str, Any]) -> str:
    """Memory of several worker processes, and what one more adds."""
    found = memory_report.workers(document)
    one = found[min(found)]["pss"] if found else 0
    rows = []
    for count, sums in found.items():
        each = number((sums["pss"] - one) / (count - min(found))) if count > min(found) else NONE
        rows.append((str(count), number(sums["pss"]), number(sums["rss"]), each))
    return table(("worker processes", "PSS of all, MB", "sum of RSS, MB", "PSS of each one more, MB"), rows)


def charts(document: dict[str, Any]) -> dict[str, str]:
    """File name -> SVG: RSS by stage, and RSS over the long run."""
    found = memory_report.stages(document)
    about = document["machine"]
    groups = []
    for metric, title in memory_report.STAGES.items():
        if metric.endswith("_rss_mb"):
            bars = [plots.Bar(each, {each: mb[metric]}, mb[metric]) for each, mb in found.items() if metric in mb]
            groups.append(plots.Group(title, bars))
    note = f"Sum over a server's processes, medians of {document['runs']} rounds; {about['requests']} requests."
    drawn = {"memory_stages.svg": plots.bars("Resident memory (RSS)", note, "MB", groups, ORDER)}
    colour = {name: plots.COLOURS[index] for index, name in enumerate(ORDER)}
    if runs := memory_report.long_run(document):
        series = [lines.Series(system, points, colour[system]) for system, points in runs.items()]
        title = "Resident memory over a long run"
        note = f"{about['clients']} clients with json-nested; RSS after each hundred requests."
        drawn["memory_long_run.svg"] = lines.lines(title, note, "requests", "MB", series)
    return drawn
