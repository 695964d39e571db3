"""Writes docs/benchmarks.md and its charts from the result files: python -m bench.report (make bench-report)."""

from __future__ import annotations

import sys

from bench import results
from bench.report import page
from infra.rie import ROOT


def main() -> int:
    """0 when the page was written; 1, with the reason, when no result file is there or one is damaged."""
    try:
        documents = page.read(results.FOLDER)
    except results.ResultError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not documents:
        print(f"error: no result file in {results.FOLDER}; run: make bench", file=sys.stderr)
        return 1
    template = (ROOT / "bench" / "report" / "template.md").read_text(encoding="utf-8")
    notes = (ROOT / "docs" / "benchmarks_notes.md").read_text(encoding="utf-8")
    text, charts = page.page(documents, template, notes)
    for name, chart in charts.items():
        results.write_text(ROOT / "docs" / "img" / name, chart)
    results.write_text(ROOT / "docs" / "benchmarks.md", text)
    print(f"wrote docs/benchmarks.md and {len(charts)} charts from {', '.join(page.FILES[key] for key in documents)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
