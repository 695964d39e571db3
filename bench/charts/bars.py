"""Bar charts as SVG files: groups of horizontal bars, each in one piece or stacked from named segments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.charts.svg import CHARACTER, COLOURS, LINE, MARGIN, WIDTH, document, grid_step, heading, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LABELS, TOTALS, BAR, GAP = 168, 84, 22, 8  # px: width of the labels and of the totals, height of a bar, space below it


@dataclass(frozen=True)
class Bar:
    """One bar: `segments` by name, drawn one after the other; `total` is the number at its end."""

    label: str
    segments: Mapping[str, float]
    total: float


@dataclass(frozen=True)
class Group:
    """Bars under one heading."""

    heading: str
    bars: Sequence[Bar]


def chart(title: str, note: str, unit: str, groups: Sequence[Group], order: Sequence[str]) -> str:
    """The chart as SVG text. `order` names the segments: it decides their colours and the legend, which shows only
    those that occur. `note` may have several lines.
    """
    drawn = [bar for group in groups for bar in group.bars]
    used = {name for bar in drawn for name, value in bar.segments.items() if value > 0}
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(order) if name in used}
    longest = max(max(bar.total, sum(bar.segments.values())) for bar in drawn)
    step = grid_step(longest, 10)
    end = step * math.ceil(longest / step)
    scale = (WIDTH - 2 * MARGIN - LABELS - TOTALS) / end
    parts, y = heading(title, note)
    legend, y = _legend(colours, y + LINE + 4) if len(colours) > 1 else ([], y)
    parts += legend
    top, body = y + 10, []
    y = top
    for group in groups:
        y += LINE
        body.append(text(MARGIN, y, group.heading, "heading"))
        y += GAP
        for bar in group.bars:
            body += _bar(bar, colours, y, scale, unit)
            y += BAR + GAP
    left = MARGIN + LABELS
    for index in range(round(end / step) + 1):
        x = left + index * step * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{y}"/>')
        body.append(text(x, y + LINE, f"{index * step:g}", "quiet number", "middle"))
    body.append(text(left + end * scale + 22, y + LINE, unit, "quiet"))
    height = y + LINE + MARGIN
    return document(title, height, [*parts, *body])


def _bar(bar: Bar, colours: Mapping[str, str], y: int, scale: float, unit: str) -> list[str]:
    x, middle = float(MARGIN + LABELS), y + BAR / 2 + 4
    parts = [text(x - 8, middle, bar.label, "", "end")]
    for name, colour in colours.items():
        value = bar.segments.get(name, 0)
        width = value * scale
        if width <= 0:
            continue
        says = f"<title>{escape(f'{bar.label}, {name}: {value:.4g} {unit}')}</title>"
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}">{says}</rect>')
        number = f"{value:.0f}" if value >= 10 else f"{value:.1f}"
        if len(bar.segments) > 1 and width > len(number) * CHARACTER + 4:
            parts.append(text(x + width / 2, middle, number, "inside number", "middle"))
        x += width
    total = f"{bar.total:,.0f}" if bar.total >= 100 else f"{bar.total:.3g}"
    return [*parts, text(x + 8, middle, f"{total} {unit}", "heading number")]


def _legend(colours: Mapping[str, str], y: int) -> tuple[list[str], int]:
    """Coloured squares with names, over as many lines as they need; and the y of the last line."""
    parts, x = [], float(MARGIN)
    for name, colour in colours.items():
        width = 18 + len(name) * CHARACTER + 14
        if x + width > WIDTH - MARGIN:
            x, y = float(MARGIN), y + LINE
        parts.append(f'<rect x="{x:.1f}" y="{y - 10}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(text(x + 18, y, name, ""))
        x += width
    return parts, y
