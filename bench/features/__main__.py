"""Entity features: python -m bench.features --runs 3 (make bench-features).

Redis and PostgreSQL have to be installed; Feast gets an environment of its own, 650 MB, when it is first needed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bench import cli
from bench.features import benchmark, summary

if TYPE_CHECKING:
    from models.manifest import Manifest


def main() -> int:
    """The status of cli.run."""
    parser = cli.parser(__doc__, 3, "rounds that count")
    parser.set_defaults(model="fraud")
    parser.add_argument("--seconds", type=float, default=benchmark.SECONDS, help="length of a slot under load")
    parser.add_argument(
        "--parts", nargs="+", choices=benchmark.PARTS, default=list(benchmark.PARTS), help="others stay as they are"
    )
    options = parser.parse_args()

    def bench(model: Manifest) -> dict[str, Any]:
        document = benchmark.bench(model, options.parts, options.runs, options.seconds)
        return benchmark.on_top(document, options.parts)

    return cli.run(options.model, bench, benchmark.FILE, summary.table)


if __name__ == "__main__":
    sys.exit(main())
