"""What all charts here have in common: size, colours, text, grid distances, and the SVG file around a drawing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, MARGIN, LINE = 880, 16, 18  # px; LINE is the height of a line of text
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
    "#e8a1a1",
    "#cc79a7",
    "#7fa3ff",
    "#a8c66c",
    "#d9d3c7",
    "#b89a7a",
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


def document(title: str, height: int, parts: Sequence[str]) -> str:
    """The SVG file: `parts` are its elements, `height` px. Colours follow the reader's light or dark setting."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    page = f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>'
    name = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return "\n".join([f'{head} role="img">', name, page, *parts, "</svg>", ""])


def heading(title: str, note: str) -> tuple[list[str], int]:
    """The title and the lines of the note below it; and the y of the last line."""
    y = MARGIN + 14
    parts = [text(MARGIN, y, title, "title")]
    for line in note.splitlines():
        y += LINE
        parts.append(text(MARGIN, y, line, "quiet"))
    return parts, y


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """One line of text; `style` names classes of STYLE."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def grid_step(largest: float, most: int) -> float:
    """A round distance between grid lines: 1, 2 or 5 times a power of ten, so that at most so many reach `largest`."""
    power = 10.0 ** math.floor(math.log10(largest))
    return next(power * factor for factor in (0.1, 0.2, 0.5, 1, 2) if largest / (power * factor) <= most)
