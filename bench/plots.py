"""Bar charts as SVG files: groups of horizontal bars, each in one piece or stacked from named segments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, MARGIN, LABELS, TOTALS = 880, 16, 168, 84
BAR, GAP, LINE = 22, 8, 18  # px: height of a bar, space below it, height of a line of text
CHARACTER = 6.9  # px: width of a character of 12 px sans-serif, on the safe side
# Okabe and Ito's colours, which the colour-blind can tell apart, and lighter ones of the same; dark text is readable
# on each, on a light page and on a dark one.
COLOURS = (
    "#b4b8bf",
    "#8cb4d9",
    "#e69f00",
    "#56b4e9",
    "#c9a6cf",
    "#2bb58c",
    "#f0e442",
    "#ee7733",
    "#cc79a7",
    "#7fa3ff",
    "#a8c66c",
    "#d9d3c7",
)
STYLE = """
.page { fill: #ffffff }
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.heading { font-weight: 600 }
.quiet { fill: #59636e }
.number { font-variant-numeric: tabular-nums }
.grid { stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 }
text { fill: #f0f6fc }
.quiet { fill: #9198a1 }
.grid { stroke: #30363d }
}
.inside { fill: #14181d }
"""


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


def bars(title: str, note: str, unit: str, groups: Sequence[Group], order: Sequence[str]) -> str:
    """The chart as SVG text. `order` names the segments: it decides their colours and the legend, which shows only
    those that occur. `note` may have several lines. Colours follow the reader's light or dark setting.
    """
    drawn = [bar for group in groups for bar in group.bars]
    used = {name for bar in drawn for name, value in bar.segments.items() if value > 0}
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(order) if name in used}
    longest = max(max(bar.total, sum(bar.segments.values())) for bar in drawn)
    step = _step(longest)
    end = step * math.ceil(longest / step)
    scale = (WIDTH - 2 * MARGIN - LABELS - TOTALS) / end
    y = MARGIN + 14
    parts = [_text(MARGIN, y, title, "title")]
    for line in note.splitlines():
        y += LINE
        parts.append(_text(MARGIN, y, line, "quiet"))
    legend, y = _legend(colours, y + LINE + 4) if len(colours) > 1 else ([], y)
    parts += legend
    top, body = y + 10, []
    y = top
    for group in groups:
        y += LINE
        body.append(_text(MARGIN, y, group.heading, "heading"))
        y += GAP
        for bar in group.bars:
            body += _bar(bar, colours, y, scale, unit)
            y += BAR + GAP
    left = MARGIN + LABELS
    for index in range(round(end / step) + 1):
        x = left + index * step * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{y}"/>')
        body.append(_text(x, y + LINE, f"{index * step:g}", "quiet number", "middle"))
    body.append(_text(left + end * scale + 22, y + LINE, unit, "quiet"))
    height = y + LINE + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    page = f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>'
    name = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return "\n".join([f'{head} role="img">', name, page, *parts, *body, "</svg>", ""])


def _bar(bar: Bar, colours: Mapping[str, str], y: int, scale: float, unit: str) -> list[str]:
    x, middle = float(MARGIN + LABELS), y + BAR / 2 + 4
    parts = [_text(x - 8, middle, bar.label, "", "end")]
    for name, colour in colours.items():
        value = bar.segments.get(name, 0)
        width = value * scale
        if width <= 0:
            continue
        says = f"<title>{escape(f'{bar.label}, {name}: {value:.4g} {unit}')}</title>"
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}">{says}</rect>')
        number = f"{value:.0f}" if value >= 10 else f"{value:.1f}"
        if len(bar.segments) > 1 and width > len(number) * CHARACTER + 4:
            parts.append(_text(x + width / 2, middle, number, "inside number", "middle"))
        x += width
    total = f"{bar.total:,.0f}" if bar.total >= 100 else f"{bar.total:.3g}"
    return [*parts, _text(x + 8, middle, f"{total} {unit}", "heading number")]


def _legend(colours: Mapping[str, str], y: int) -> tuple[list[str], int]:
    """Coloured squares with names, over as many lines as they need; and the y of the last line."""
    parts, x = [], float(MARGIN)
    for name, colour in colours.items():
        width = 18 + len(name) * CHARACTER + 14
        if x + width > WIDTH - MARGIN:
            x, y = float(MARGIN), y + LINE
        parts.append(f'<rect x="{x:.1f}" y="{y - 10}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(_text(x + 18, y, name, ""))
        x += width
    return parts, y


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _step(largest: float) -> float:
    """A round distance between grid lines: 1, 2 or 5 times a power of ten, for four to ten of them."""
    power = 10.0 ** math.floor(math.log10(largest))
    return next(power * factor for factor in (0.1, 0.2, 0.5, 1) if largest / (power * factor) <= 10)
