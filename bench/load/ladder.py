"""How cost grows with clients and with cores: python -m bench.load.ladder (make bench-ladder).

Each number of clients sends json-nested for a few seconds, to one server at a time. With fewer cores than the machine
has, the servers are pinned to the first ones and the load generator to the others; with all, they share them.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import cli, machine, payloads, proc, results, servers
from bench.load import slots
from bench.loadgen.generator import Generator
from bench.payloads import NESTED
from bench.servers import GO, OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.manifest import Manifest

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
GO_VARIANT = "goserve-peer, 1 thread"  # the faster of the two with many clients
WARM_UP = 20  # requests
_METRIC = re.compile(r"(\w+)_with_(\d+)_clients_on_(\d+)_cores_(?:rps|ms|mb)")


def core_counts(available: int) -> list[int]:
    """1, 2, 4 and so on, and at last as many as there are."""
    return sorted({1 << power for power in range(available.bit_length()) if 1 << power < available} | {available})


def points(document: dict[str, Any]) -> Iterator[tuple[str, str, int, int, float]]:
    """What a ladder's rows say: system, "throughput", "p99", "cpu" or "rss", clients, cores, value."""
    for row in document["rows"]:
        if match := _METRIC.fullmatch(row["metric"]):
            yield row["system"], match[1], int(match[2]), int(match[3]), row["p50"]


def bench(
    model: Manifest, names: Sequence[str], runs: int, seconds: float, clients: Sequence[int] = CLIENTS
) -> dict[str, Any]:
    """The result file's content."""
    about, versions = machine.machine(), machine.versions()
    (payload,) = payloads.ladder(model, [NESTED])
    cpus = sorted(os.sched_getaffinity(0))
    chosen = [each for each in servers.systems(names, model) if each.name in (OURS, GO_VARIANT)]
    steps = [(cores, number) for cores in core_counts(len(cpus)) for number in range(runs)]
    samples = results.Samples()
    with tempfile.TemporaryDirectory() as folder:
        generator = Generator(Path(folder))
        for cores, _ in tqdm(steps, desc="ladder", unit="round", disable=None):
            with ExitStack() as stack:
                with proc.pinned(cpus[:cores]):
                    running = {each.name: stack.enter_context(each.start()) for each in chosen}
                stack.enter_context(proc.pinned(cpus[cores:] or cpus))
                up = slots.Servers(running, generator)
                for system in running:
                    up.check(system, payload)
                    up.slot(system, payload, 1, requests=WARM_UP)
                for count in clients:
                    for system, server in running.items():
                        slot = up.slot(system, payload, count, seconds=seconds)
                        name = GO if system == GO_VARIANT else system
                        where = f"with_{count}_clients_on_{cores}_cores"
                        samples.add(name, NESTED, f"throughput_{where}_rps", slot.rps)
                        samples.add(name, NESTED, f"p99_{where}_ms", slot.latency_ms["p99"])
                        samples.add(name, NESTED, f"cpu_{where}_ms", slot.server_cpu_ms)
                        samples.add(name, NESTED, f"rss_{where}_mb", proc.memory(server.pids()).rss)
    if GO in names:
        versions[GO] = GO_VARIANT.partition(", ")[2] if len(chosen) == len(names) else "left out: it could not be built"
    document = {"machine": about | {"seconds": seconds}, "versions": versions, "runs": runs}
    return document | {"rows": samples.rows(), "ratios": []}


def table(document: dict[str, Any]) -> str:
    """Throughput and p99 by system, cores and clients, for a terminal."""
    return "\n".join(
        f"{system:<16}{cores} cores {count:>3} clients  {kind:<11}{value:>8.1f}"
        for system, kind, count, cores, value in points(document)
        if kind in ("throughput", "p99")
    )


def main() -> int:
    """The status of cli.run."""
    parser = cli.parser(__doc__, 1, "rounds for each number of cores")
    parser.add_argument("--seconds", type=float, default=5, help="length of a slot")
    options = parser.parse_args()
    return cli.run(
        options.model, lambda model: bench(model, (GO, OURS), options.runs, options.seconds), "ladder.json", table
    )


if __name__ == "__main__":
    sys.exit(main())
