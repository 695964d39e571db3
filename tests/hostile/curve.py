"""A curve over time as an SVG file, in the style of the project's bar charts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.charts.svg import COLOURS, STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 880, 360, 64, 56, 24, 48
TICKS = 5


def curve(title: str, across: str, up: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """The chart as SVG text: one line of (x, y) for each name. Both axes begin at 0; `across` and `up` name them."""
    drawn = [point for points in lines.values() for point in points]
    right = max([x for x, _ in drawn], default=1) or 1
    top = 1.1 * max([y for _, y in drawn], default=1) or 1
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        _text(16, 26, title, "title"),
    ]
    for tick in range(TICKS + 1):
        x, y = LEFT + wide * tick / TICKS, TOP + high * (1 - tick / TICKS)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + wide}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{top * tick / TICKS:,.0f}", "quiet number", "end"))
        parts.append(_text(x, TOP + high + 18, f"{right * tick / TICKS:,.0f}", "quiet number", "middle"))
    parts.append(_text(LEFT + wide, HEIGHT - 8, across, "quiet", "end"))
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[3 + number]
        path = " ".join(f"{LEFT + wide * x / right:.1f},{TOP + high * (1 - y / top):.1f}" for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        parts.append(f'<rect x="{LEFT + 180 * number}" y="36" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(_text(LEFT + 180 * number + 18, 46, f"{name}, {up}", ""))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
