"""Memory of the servers, and of many worker processes: python -m bench.memory --runs 2 (make bench-memory)."""

from __future__ import annotations

import sys

from bench import cli
from bench.memory import benchmark, summary


def main() -> int:
    """The status of cli.run."""
    parser = cli.parser(__doc__, 2, "rounds of the stages")
    parser.add_argument("--systems", nargs="+", choices=benchmark.SYSTEMS, default=benchmark.SYSTEMS)
    options = parser.parse_args()
    return cli.run(
        options.model,
        lambda model: benchmark.bench(model, options.systems, options.runs),
        "memory.json",
        summary.table,
    )


if __name__ == "__main__":
    sys.exit(main())
