"""One slot of a load benchmark: one system at work for a while, the others up but idle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from bench import proc, servers
from bench.loadgen.generator import LoadError
from function.engine import artifact, repository
from function.native import cpu, ort_capi
from infra.rie import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.loadgen.generator import Generator
    from bench.payloads import Payload
    from bench.peers.launch import Server
    from models.manifest import Manifest

SETTLE_SECONDS = 0.5  # for what a server still does after its last answer: the Go peer collects garbage


@dataclass(frozen=True)
class Slot:
    """What was measured: answers per second, latencies in ms, CPU time of server and generator in ms per answer."""

    rps: float
    latency_ms: Mapping[str, float]  # p50, p90, p99, min
    server_cpu_ms: float
    generator_cpu_ms: float


class Servers:
    """Servers that all stay up: an idle one takes no CPU, which is measured, and a restarted one would be cold."""

    def __init__(self, running: Mapping[str, Server], generator: Generator) -> None:
        self._running, self._generator = running, generator
        self.idle_share = 0.0  # most CPU that all idle servers together took in any slot, as a share of one core

    def check(self, name: str, payload: Payload) -> dict[str, float]:
        """WrongAnswerError unless the server gives the payload's answer; the phases that it reports, in ms."""
        response = servers.ask(self._running[name].url, payload)
        payload.check(response)
        return servers.timing(dict(response.headers))

    def slot(self, name: str, payload: Payload, clients: int, *, requests: int = 0, seconds: float = 0) -> Slot:
        """The server under this many clients, until there were so many requests or for so long."""
        time.sleep(SETTLE_SECONDS)
        pids = self._running[name].pids()
        idle = [pid for other in self._running if other != name for pid in self._running[other].pids()]
        began, used, wasted = time.perf_counter(), proc.cpu_seconds(pids), proc.cpu_seconds(idle)
        report = self._generator.run(self._running[name].url, payload, clients, requests=requests, seconds=seconds)
        used, wasted = proc.cpu_seconds(pids) - used, proc.cpu_seconds(idle) - wasted
        self.idle_share = max(self.idle_share, wasted / (time.perf_counter() - began))
        milliseconds = 1000 / report.requests
        return Slot(report.rps, report.latency_ms, used * milliseconds, report.cpu_seconds * milliseconds)


class Floor:
    """The process of bench.load.floor."""

    def __init__(self, pid: int, asked: IO[str], answers: IO[str]) -> None:
        self._pid, self._asked, self._answers = pid, asked, answers

    def slot(self, seconds: float) -> Slot:
        """Bare inference on every CPU for so long."""
        time.sleep(SETTLE_SECONDS)
        used = proc.cpu_seconds([self._pid])
        self._asked.write(f"{seconds}\n")
        self._asked.flush()
        found = json.loads(self._answers.readline())
        used = proc.cpu_seconds([self._pid]) - used
        count = found["requests"]
        return Slot(count / found["seconds"], found["latency_ms"], used * 1000 / count, 0.0)


@contextmanager
def floor(model: Manifest, payload: Payload, folder: Path) -> Iterator[Floor]:
    """Bare inference on the artifact that the function would choose here, fed with the payload `binary`.

    WrongAnswerError unless its scores are right. `folder` takes the tensor as a file.
    """
    assert model.image is not None
    metadata = repository.read(str(model.folder.parent), model.name)
    chosen = artifact.choose(metadata, ort_capi.get_library().version, cpu.flags())
    tensor = metadata.inputs[model.image.input]
    file = folder / "floor.f32"
    file.write_bytes(payload.body)
    argv = [sys.executable, "-m", "bench.load.floor", chosen.graph, str(artifact.optimise_level(chosen.family))]
    argv += [str(file), tensor.name, ",".join(str(max(1, size)) for size in tensor.shape)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            scores = process.stdout.readline()
            if not scores:
                raise LoadError("bench.load.floor ended before it could be asked; its words are above")
            payload.check_scores(dict(enumerate(json.loads(scores))))
            yield Floor(process.pid, process.stdin, process.stdout)
        finally:
            process.stdin.close()
            process.terminate()
