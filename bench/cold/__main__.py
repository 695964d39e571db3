"""From process spawn to the first correct prediction: python -m bench.cold --runs 20 (make bench-cold)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bench import cli, payloads, results
from bench.cold import benchmark, summary
from infra.rie import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import Manifest


def main() -> int:
    """The status of cli.run; draws the chart, too."""
    parser = cli.parser(__doc__, 20, "rounds that count")
    parser.add_argument("--drop-caches", action="store_true", help="empty the page cache before each start (root)")
    parser.add_argument("--payloads", nargs="+", choices=payloads.NAMES, default=benchmark.PAYLOADS)
    parser.add_argument("--systems", nargs="+", choices=benchmark.SYSTEMS, default=benchmark.SYSTEMS)
    options = parser.parse_args()
    name = "cold_start_dropped" if options.drop_caches else "cold_start"
    files: dict[str, dict[Path, int]] = {}

    def bench(model: Manifest) -> dict[str, Any]:
        document, touched = benchmark.bench(
            model, options.systems, options.payloads, options.runs, drop_caches=options.drop_caches
        )
        if not document["rows"]:
            raise RuntimeError("none of these systems can be measured with these payloads; see bench/README.md")
        files.update(touched)
        return document

    def table(document: dict[str, Any]) -> str:
        results.write_text(ROOT / "docs" / "img" / f"{name}.svg", summary.chart(document))
        return f"{summary.table(document)}\n{summary.files_table(document, files)}"

    return cli.run(options.model, bench, f"{name}.json", table)


if __name__ == "__main__":
    sys.exit(main())
