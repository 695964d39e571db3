"""Throughput and latency under load."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import machine, payloads, results, servers
from bench.load import slots
from bench.load.tally import FLOOR, PUBLISHED, STEADY, Tally
from bench.loadgen.generator import Generator
from bench.payloads import NESTED
from bench.servers import GO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.payloads import Payload
    from models.manifest import Manifest

SYSTEMS = (*servers.NAMES, FLOOR)
PAYLOADS = (NESTED, "binary", "json-flat", "jpeg")  # the order of their turns
CLIENTS, REQUESTS = 10, 100  # of the published benchmark
CHECKS = 10  # requests to each server with each payload before anything is timed


class Bench:
    """Two methods, each in interleaved rounds: the published one, and a steady run."""

    def __init__(self, systems: Sequence[servers.System], ladder: Sequence[Payload], up: slots.Servers) -> None:
        self._systems, self._ladder, self._up = systems, ladder, up
        self.tally, self.phases = Tally(), results.Samples()

    def check(self) -> None:
        """WrongAnswerError unless every server gives the right answer to every payload that it understands.

        What a server says of its phases is kept: one request at a time, after the first, which may load something.
        """
        for system, payload in self._cells():
            self._up.check(system.name, payload)
            for _ in range(CHECKS):
                for phase, duration in self._up.check(system.name, payload).items():
                    self.phases.add(system.name, payload.name, f"{phase}_ms", duration)

    def published(self, runs: int, requests: int) -> None:
        """Ten clients, a hundred requests, nested JSON; a first round warms up and is thrown away."""
        nested = next(payload for payload in self._ladder if payload.name == NESTED)
        turns = [(number, system) for number in range(runs + 1) for system in self._systems]
        for number, system in tqdm(turns, desc="published method", unit="slot", disable=None):
            slot = self._up.slot(system.name, nested, CLIENTS, requests=requests)
            if number > 0:
                self.tally.add(system.name, nested.name, PUBLISHED, slot)

    def narrow(self, variants: Sequence[str]) -> tuple[str, str]:
        """Goes on with the best of the variants only; its name, and a sentence that says how fast each was."""
        speeds = {each: self.tally.throughput(each, NESTED, PUBLISHED) for each in variants}
        best = max(speeds, key=speeds.__getitem__)
        self._systems = [each for each in self._systems if each.name == best or each.name not in variants]
        said = ", ".join(f"{each.partition(', ')[2]}: {speed:.1f} requests/s" for each, speed in speeds.items())
        return best, f"{best.partition(', ')[2]} (by the published method {said})"

    def steady(self, runs: int, seconds: float, floor: slots.Floor | None) -> None:
        """Every system with every payload that it understands, for so long in each round; the floor in the middle.

        That is between the turns that are compared with it: ours with nested JSON and with binary.
        """
        cells = self._cells()
        first = sum(payload.name == NESTED for _, payload in cells)
        with tqdm(total=runs * (len(cells) + bool(floor)), desc="steady run", unit="slot", disable=None) as progress:
            for _ in range(runs):
                for number, (system, payload) in enumerate(cells):
                    if floor and number == first:
                        self.tally.add(FLOOR, "binary", STEADY, floor.slot(seconds))
                        progress.update()
                    slot = self._up.slot(system.name, payload, CLIENTS, seconds=seconds)
                    self.tally.add(system.name, payload.name, STEADY, slot)
                    progress.update()

    def _cells(self) -> list[tuple[servers.System, Payload]]:
        return [(s, p) for p in self._ladder for s in self._systems if p.name in s.payloads]


def bench(model: Manifest, names: Sequence[str], runs: int, seconds: float, requests: int) -> dict[str, Any]:
    """The result file's content."""
    about, versions = machine.machine(), machine.versions()
    ladder = payloads.ladder(model, PAYLOADS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        generator = Generator(folder)
        systems = servers.systems(names, model)
        up = slots.Servers({each.name: stack.enter_context(each.start()) for each in systems}, generator)
        floor = None
        if FLOOR in names:
            binary = next(payload for payload in ladder if payload.name == "binary")
            floor = stack.enter_context(slots.floor(model, binary, folder))
        run = Bench(systems, ladder, up)
        run.check()
        run.published(runs, requests)
        variants = [each.name for each in systems if each.name in servers.GO_THREADS]
        if variants:
            best, versions[GO] = run.narrow(variants)
        elif GO in names:
            versions[GO] = "left out: it could not be built"
        run.steady(runs, seconds, floor)
        if variants:
            run.tally.keep(best, variants, GO)
    about |= {
        "clients": CLIENTS,
        "published_requests": requests,
        "steady_seconds": seconds,
        "idle_servers_share_of_a_core": round(up.idle_share, 4),
    }
    document = {"machine": about, "versions": versions, "runs": runs, "rows": [*run.tally.rows(), *run.phases.rows()]}
    return document | {"ratios": run.tally.ratios()}
