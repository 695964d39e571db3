"""Tables and numbers of docs/benchmarks.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


NONE = "\N{EN DASH}"  # what was not measured


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose cells are all numbers stand to the right."""
    cells = [tuple(row) for row in rows]
    right = [all(_is_number(row[place]) for row in cells) for place in range(len(heads))]
    lines = [heads, tuple("---:" if each else "---" for each in right), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Three digits that count, no exponent; a dash for what was not measured."""
    if value is None:
        return NONE
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _is_number(cell: str) -> bool:
    return cell in ("", NONE, "not run") or cell.strip("+-%").replace(".", "", 1).isdigit()
