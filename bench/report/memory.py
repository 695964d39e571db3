"""The memory result file as blocks of docs/benchmarks.md and as charts."""

from __future__ import annotations

from typing import Any

from bench.charts import bars, lines
from bench.charts.svg import COLOURS
from bench.memory import summary
from bench.report.load import ORDER
from bench.report.markdown import NONE, number, table


def stages(document: dict[str, Any]) -> str:
    """MB of each server at each stage."""
    rows = [
        (system, *(number(found.get(metric)) for metric in summary.STAGES))
        for system, found in summary.stages(document).items()
    ]
    return table(("system", *summary.STAGES.values()), rows)


def long_run(document: dict[str, Any]) -> str:
    """RSS after the first hundred requests and after the last."""
    rows = []
    for system, points in summary.long_run(document).items():
        (first, before), (last, after) = points[0], points[-1]
        change = f"{summary.growth(points):+.1%}"
        rows.append((system, f"{first}: {number(before)} MB", f"{last}: {number(after)} MB", change))
    return table(("system", "after the first requests", "after the last", "change"), rows)


def workers(document: dict[str, Any]) -> str:
    """Memory of several worker processes, and what one more adds."""
    found = summary.workers(document)
    one = found[min(found)]["pss"] if found else 0
    rows = []
    for count, sums in found.items():
        each = number((sums["pss"] - one) / (count - min(found))) if count > min(found) else NONE
        rows.append((str(count), number(sums["pss"]), number(sums["rss"]), each))
    return table(("worker processes", "PSS of all, MB", "sum of RSS, MB", "PSS of each one more, MB"), rows)


def charts(document: dict[str, Any]) -> dict[str, str]:
    """File name -> SVG: RSS by stage, and RSS over the long run."""
    found = summary.stages(document)
    about = document["machine"]
    groups = []
    for metric, title in summary.STAGES.items():
        if metric.endswith("_rss_mb"):
            drawn_bars = [bars.Bar(each, {each: mb[metric]}, mb[metric]) for each, mb in found.items() if metric in mb]
            groups.append(bars.Group(title, drawn_bars))
    note = f"Sum over a server's processes, medians of {document['runs']} rounds; {about['requests']} requests."
    drawn = {"memory_stages.svg": bars.chart("Resident memory (RSS)", note, "MB", groups, ORDER)}
    colour = {name: COLOURS[index] for index, name in enumerate(ORDER)}
    if runs := summary.long_run(document):
        series = [lines.Series(system, points, colour[system]) for system, points in runs.items()]
        title = "Resident memory over a long run"
        note = f"{about['clients']} clients with json-nested; RSS after each hundred requests."
        drawn["memory_long_run.svg"] = lines.chart(title, note, "requests", "MB", series)
    return drawn
