"""Feast's feature server and this one on the same Redis, in turns: throughput, latency, memory; what imports cost."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tqdm import tqdm

from bench import proc
from bench.features import feast_server, questions
from bench.features.setup import CLIENTS, MEAN, NO_MEMORY, P99, THROUGHPUT, Part, zeroserve
from bench.load import slots
from bench.servers import OURS
from infra.rie import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from bench.features.questions import Question
    from bench.features.setup import Setup
    from bench.peers.launch import Server

FEAST = "feast-server"
STORE = "-redis"  # after a payload's name: without memory in front, each row comes from Redis
IMPORT = "import"
PYTHON = "python"
PAYLOADS = [f"features-{count}{where}" for count in questions.ENTITIES for where in ("", STORE)]
PAIRS = [
    ((OURS, f"features-{count}{where}"), (FEAST, f"features-{count}"))
    for count in questions.ENTITIES
    for where in ("", STORE)
]
_NO_MEMORY = f"{OURS}{STORE}"
_PROGRAM = """
import sys, time
started = time.perf_counter()
{}
print((time.perf_counter() - started) * 1000)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def measure(setup: Setup) -> Part:
    """The part of the result file; Feast is left out, and said to be, where its environment cannot be made."""
    part = Part(machine={"clients": CLIENTS, "cards": setup.cards.count, "slot_seconds": setup.seconds})
    interpreter = feast_server.python()
    ladder = [questions.lookups(setup.cards, count) for count in questions.ENTITIES]
    with ExitStack() as stack:
        running = {
            OURS: stack.enter_context(zeroserve(setup.model, {"FEATURES_URL": setup.redis()})),
            _NO_MEMORY: stack.enter_context(zeroserve(setup.model, {"FEATURES_URL": setup.redis(), **NO_MEMORY})),
        }
        if interpreter:
            folder = setup.folder / "feast"
            folder.mkdir(exist_ok=True)
            feast_server.repository(interpreter, setup.cards, setup.redis(), folder)
            for name, workers in feast_server.WORKERS.items():
                running[name] = stack.enter_context(feast_server.running(interpreter, folder, workers))
        _load(setup, part, running, ladder)
        for name, server in running.items():
            if name != _NO_MEMORY:
                part.samples.add(name, ladder[0].name, "idle_rss_mb", proc.memory(server.pids()).rss)
                part.samples.add(name, ladder[0].name, "idle_pss_mb", proc.memory(server.pids()).pss)
    if interpreter:
        best = [part.samples.keep_best(list(feast_server.WORKERS), FEAST, each.name, MEAN) for each in ladder]
        part.versions[FEAST] = (
            f"{feast_server.version(interpreter)}, {'; '.join(each.partition(', ')[2] for each in dict.fromkeys(best))}"
        )
    else:
        part.versions[FEAST] = "left out: its environment cannot be made"
    _imports(setup, part, interpreter)
    part.ratios = [ratio for metric in (THROUGHPUT, P99) for ratio in part.samples.ratios(metric, PAIRS)]
    return part


def _load(setup: Setup, part: Part, running: dict[str, Server], ladder: list[Question]) -> None:
    up = slots.Servers(running, setup.generator)
    for name in running:
        for payload in ladder:
            up.check(name, payload)
    rounds = [(*each, payload, name) for each in setup.rounds() for payload in ladder for name in running]
    for counts, seconds, payload, name in tqdm(rounds, desc="beside Feast", unit="slot", disable=None):
        slot = up.slot(name, payload, CLIENTS, seconds=seconds)
        if counts:
            own = name != _NO_MEMORY
            part.add_slot(name if own else OURS, payload.name if own else payload.name + STORE, slot)
    part.machine["idle_servers_share_of_a_core"] = round(up.idle_share, 4)


def _imports(setup: Setup, part: Part, interpreter: Path | None) -> None:
    """What each needs to read features of Redis in a process of one's own."""
    ours = "import function.features.join, function.features.redis_store"
    programs = {PYTHON: (sys.executable, "pass"), OURS: (sys.executable, ours)}
    if interpreter:
        programs[FEAST] = (str(interpreter), "from feast import FeatureStore")
    for counts, _ in setup.rounds():
        for name, (python, statement) in programs.items():
            done = subprocess.run(
                [python, "-c", _PROGRAM.format(statement)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=True,
                capture_output=True,
                text=True,
            )
            milliseconds, kibibytes = done.stdout.split()
            if counts:
                part.samples.add(name, IMPORT, "import_ms", float(milliseconds))
                part.samples.add(name, IMPORT, "import_rss_mb", int(kibibytes) * 1024 / 1e6)
