"""Line charts as SVG files, in the style of bench.plots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.plots import MARGIN, STYLE, WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

HEIGHT, AXIS, LINE = 260, 56, 18  # px: of the drawing, of the numbers beside it, of a line of text
LABELS = 12  # at most so many along the x axis
CHARACTER = 6.9  # px: width of a character of 12 px sans-serif, on the safe side


@dataclass(frozen=True)
class Series:
    """One line through (x, y); `dashed` tells lines of one colour apart."""

    label: str
    points: Sequence[tuple[int, float]]
    colour: str
    dashed: bool = False


def lines(title: str, note: str, x_name: str, unit: str, series: Sequence[Series]) -> str:
    """The chart as SVG text, y from zero. The x values of all lines stand at equal distances, whatever they are."""
    xs = sorted({x for each in series for x, _ in each.points})
    largest = max(y for each in series for _, y in each.points)
    step = _step(largest)
    end = step * math.ceil(largest / step)
    y = MARGIN + 14
    parts = [_text(MARGIN, y, title, "title")]
    for said in note.splitlines():
        y += LINE
        parts.append(_text(MARGIN, y, said, "quiet"))
    y += LINE + 4
    parts += _legend(series, y)
    top, left, right = y + 30, MARGIN + AXIS, WIDTH - MARGIN - 10
    bottom = top + HEIGHT
    columns = {x: left + 20 + (right - left - 40) * index / max(1, len(xs) - 1) for index, x in enumerate(xs)}
    parts.append(_text(left - 8, top - 12, unit, "quiet", "end"))
    for index in range(round(end / step) + 1):
        level = bottom - HEIGHT * index * step / end
        parts.append(f'<line class="grid" x1="{left}" y1="{level:.1f}" x2="{right}" y2="{level:.1f}"/>')
        parts.append(_text(left - 8, level + 4, f"{index * step:g}", "quiet number", "end"))
    every = -(-len(xs) // LABELS)
    parts += [_text(columns[x], bottom + LINE, str(x), "quiet number", "middle") for x in xs[::-1][::every]]
    parts.append(_text((left + right) / 2, bottom + 2 * LINE, x_name, "quiet", "middle"))
    for each in series:
        places = [(columns[x], bottom - HEIGHT * value / end) for x, value in each.points]
        path = " ".join(f"{x:.1f},{level:.1f}" for x, level in places)
        parts.append(f'<polyline points="{path}" fill="none" {_stroke(each)}/>')
        for (place, level), (x, value) in zip(places, each.points, strict=True):
            says = f"<title>{escape(f'{each.label}, {x} {x_name}: {value:.4g} {unit}')}</title>"
            parts.append(f'<circle cx="{place:.1f}" cy="{level:.1f}" r="4" fill="{each.colour}">{says}</circle>')
    height = bottom + 2 * LINE + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    page = f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>'
    name = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return "\n".join([f'{head} role="img">', name, page, *parts, "</svg>", ""])


def _legend(series: Sequence[Series], y: int) -> list[str]:
    parts, x = [], float(MARGIN)
    for each in series:
        parts.append(f'<line x1="{x:.1f}" y1="{y - 4}" x2="{x + 24:.1f}" y2="{y - 4}" {_stroke(each)}/>')
        parts.append(_text(x + 30, y, each.label, ""))
        x += 30 + len(each.label) * CHARACTER + 14
    return parts


def _stroke(series: Series) -> str:
    return f'stroke="{series.colour}" stroke-width="2.5"' + (' stroke-dasharray="7 5"' if series.dashed else "")


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _step(largest: float) -> float:
    """A round distance between grid lines: 1, 2 or 5 times a power of ten, for three to eight of them."""
    power = 10.0 ** math.floor(math.log10(largest))
    return next(power * factor for factor in (0.1, 0.2, 0.5, 1, 2) if largest / (power * factor) <= 8)
