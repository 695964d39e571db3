"""Throughput and latency under load: python -m bench.load --runs 3 (make bench-load)."""

from __future__ import annotations

import sys

from bench import cli
from bench.load import benchmark, summary


def main() -> int:
    """The status of cli.run."""
    parser = cli.parser(__doc__, 3, "rounds of each method that count")
    parser.add_argument("--seconds", type=float, default=30, help="length of a slot of the steady run")
    parser.add_argument("--requests", type=int, default=benchmark.REQUESTS, help="of the published method, in all")
    parser.add_argument("--systems", nargs="+", choices=benchmark.SYSTEMS, default=benchmark.SYSTEMS)
    options = parser.parse_args()
    return cli.run(
        options.model,
        lambda model: benchmark.bench(model, options.systems, options.runs, options.seconds, options.requests),
        "load.json",
        summary.table,
    )


if __name__ == "__main__":
    sys.exit(main())
