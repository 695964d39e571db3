"""Memory of the servers, and of many worker processes."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import machine, payloads, proc, results, servers
from bench.loadgen.generator import Generator
from bench.memory import workers
from bench.payloads import NESTED
from bench.servers import FASTAPI, GO, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.payloads import Payload
    from models.manifest import Manifest

WORKERS = "zeroserve-process"
SYSTEMS = (*servers.NAMES, WORKERS)
CLIENTS, REQUESTS, LONG_RUN, BATCH = 10, 200, 2000, 100
SETTLE_SECONDS = 2.0  # idle is what is left after this: time for the Go peer to give memory back
PEAK, IDLE = "peak_rss_mb", "idle_rss_mb"
PAIRS = (((OURS, NESTED), (GO, NESTED)), ((OURS, NESTED), (FASTAPI, NESTED)), ((GO, NESTED), (FASTAPI, NESTED)))


class Bench:
    """Each server is started anew for each look at it, with no other one up: pages shared with others would count less.

    All figures are sums over the processes of a server.
    """

    def __init__(self, payload: Payload, generator: Generator) -> None:
        self._payload, self._generator, self.samples = payload, generator, results.Samples()

    def stages(self, system: servers.System, requests: int) -> None:
        """After its start, after one request, at most while ten clients sent so many, and idle after that."""
        with system.start() as server:
            self._look(system.name, "start", server.pids())
            self._payload.check(servers.ask(server.url, self._payload))
            self._look(system.name, "one_request", server.pids())
            self._generator.run(server.url, self._payload, CLIENTS, requests=requests)
            self.samples.add(system.name, NESTED, PEAK, proc.memory(server.pids()).peak_rss)
            time.sleep(SETTLE_SECONDS)
            self._look(system.name, "idle", server.pids())

    def long_run(self, system: servers.System, name: str, requests: int) -> None:
        """RSS after each hundred requests of ten clients."""
        with system.start() as server:
            for sent in range(BATCH, requests + 1, BATCH):
                self._generator.run(server.url, self._payload, CLIENTS, requests=BATCH)
                self.samples.add(name, NESTED, f"rss_after_{sent}_requests_mb", proc.memory(server.pids()).rss)

    def workers(self, model: Manifest, folder: Path, counts: Sequence[int]) -> None:
        """So many processes of the handler, and what each one beyond the first adds to the largest number's sum."""
        found = workers.measure(model, self._payload, folder, counts)
        for count, seen in found.items():
            self.samples.add(WORKERS, NESTED, f"pss_of_{count}_workers_mb", seen.pss)
            self.samples.add(WORKERS, NESTED, f"rss_of_{count}_workers_mb", seen.rss)
        few, many = min(found), max(found)
        for metric, kind in (("pss_per_extra_worker_mb", "pss"), ("anon_per_extra_worker_mb", "anon")):
            added = getattr(found[many], kind) - getattr(found[few], kind)
            self.samples.add(WORKERS, NESTED, metric, added / (many - few))

    def _look(self, system: str, stage: str, pids: Sequence[int]) -> None:
        seen = proc.memory(pids)
        for kind, value in (("rss", seen.rss), ("pss", seen.pss), ("anon", seen.anon)):
            self.samples.add(system, NESTED, f"{stage}_{kind}_mb", value)


def bench(  # noqa: PLR0913  (a test takes smaller numbers)
    model: Manifest,
    names: Sequence[str],
    runs: int,
    *,
    requests: int = REQUESTS,
    long_run: int = LONG_RUN,
    counts: Sequence[int] = workers.COUNTS,
) -> dict[str, Any]:
    """The result file's content: the stages in interleaved rounds, then one long run of each server."""
    about, versions = machine.machine(), machine.versions()
    (payload,) = payloads.ladder(model, [NESTED])
    systems = servers.systems(names, model)
    variants = [system.name for system in systems if system.name in servers.GO_THREADS]
    with tempfile.TemporaryDirectory() as name:
        run = Bench(payload, Generator(Path(name)))
        for _ in tqdm(range(runs), desc="memory by stage", unit="round", disable=None):
            for system in systems:
                run.stages(system, requests)
            if WORKERS in names:
                run.workers(model, Path(name), counts)
        if variants:
            peaks = {each: statistics.median(run.samples.values(each, NESTED, PEAK)) for each in variants}
            best = run.samples.keep_best(variants, GO, NESTED, PEAK)
            said = ", ".join(f"{each.partition(', ')[2]}: {peak:.0f} MB" for each, peak in peaks.items())
            versions[GO] = f"{best.partition(', ')[2]} (peaks {said})"
            systems = [system for system in systems if system.name == best or system.name not in variants]
        elif GO in names:
            versions[GO] = "left out: it could not be built"
        for system in tqdm(systems, desc="long run", unit="system", disable=None):
            run.long_run(system, GO if system.name in variants else system.name, long_run)
    about |= {"clients": CLIENTS, "requests": requests, "settle_seconds": SETTLE_SECONDS}
    rows = run.samples.rows()
    ratios = [*run.samples.ratios(PEAK, PAIRS), *run.samples.ratios(IDLE, PAIRS)]
    return {"machine": about, "versions": versions, "runs": runs, "rows": rows, "ratios": ratios}
