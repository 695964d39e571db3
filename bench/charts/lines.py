"""Line charts as SVG files, in the style of bench.charts.bars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.charts.svg import CHARACTER, LINE, MARGIN, WIDTH, document, grid_step, heading, text

if TYPE_CHECKING:
    from collections.abc import Sequence

HEIGHT, AXIS = 260, 56  # px: of the drawing, of the numbers beside it
LABELS = 12  # at most so many along the x axis


@dataclass(frozen=True)
class Series:
    """One line through (x, y); `dashed` tells lines of one colour apart."""

    label: str
    points: Sequence[tuple[int, float]]
    colour: str
    dashed: bool = False


def chart(title: str, note: str, x_name: str, unit: str, series: Sequence[Series]) -> str:
    """The chart as SVG text, y from zero. The x values of all lines stand at equal distances, whatever they are."""
    xs = sorted({x for each in series for x, _ in each.points})
    largest = max(y for each in series for _, y in each.points)
    step = grid_step(largest, 8)
    end = step * math.ceil(largest / step)
    parts, y = heading(title, note)
    y += LINE + 4
    parts += _legend(series, y)
    top, left, right = y + 30, MARGIN + AXIS, WIDTH - MARGIN - 10
    bottom = top + HEIGHT
    columns = {x: left + 20 + (right - left - 40) * index / max(1, len(xs) - 1) for index, x in enumerate(xs)}
    parts.append(text(left - 8, top - 12, unit, "quiet", "end"))
    for index in range(round(end / step) + 1):
        level = bottom - HEIGHT * index * step / end
        parts.append(f'<line class="grid" x1="{left}" y1="{level:.1f}" x2="{right}" y2="{level:.1f}"/>')
        parts.append(text(left - 8, level + 4, f"{index * step:g}", "quiet number", "end"))
    every = -(-len(xs) // LABELS)
    parts += [text(columns[x], bottom + LINE, str(x), "quiet number", "middle") for x in xs[::-1][::every]]
    parts.append(text((left + right) / 2, bottom + 2 * LINE, x_name, "quiet", "middle"))
    for each in series:
        places = [(columns[x], bottom - HEIGHT * value / end) for x, value in each.points]
        path = " ".join(f"{x:.1f},{level:.1f}" for x, level in places)
        parts.append(f'<polyline points="{path}" fill="none" {_stroke(each)}/>')
        for (place, level), (x, value) in zip(places, each.points, strict=True):
            says = f"<title>{escape(f'{each.label}, {x} {x_name}: {value:.4g} {unit}')}</title>"
            parts.append(f'<circle cx="{place:.1f}" cy="{level:.1f}" r="4" fill="{each.colour}">{says}</circle>')
    return document(title, bottom + 2 * LINE + MARGIN, parts)


def _legend(series: Sequence[Series], y: int) -> list[str]:
    parts, x = [], float(MARGIN)
    for each in series:
        parts.append(f'<line x1="{x:.1f}" y1="{y - 4}" x2="{x + 24:.1f}" y2="{y - 4}" {_stroke(each)}/>')
        parts.append(text(x + 30, y, each.label, ""))
        x += 30 + len(each.label) * CHARACTER + 14
    return parts


def _stroke(series: Series) -> str:
    return f'stroke="{series.colour}" stroke-width="2.5"' + (' stroke-dasharray="7 5"' if series.dashed else "")
