"""The rivals of the cold-start benchmark that run in the emulator: Go Lambdas, and a tutorial's in Python."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import proc
from bench.cold.run import Memory, Run, between, detailed, made
from bench.cold.systems import RieSystem, chosen_artifact
from bench.payloads import NESTED
from bench.peers import launch, lwa
from function.engine import artifact
from function.native import ort_capi
from infra import processes
from infra.emulator import AWSLAMBDARIC, Emulator
from infra.payload import decode_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.payloads import Payload
    from models.manifest import Manifest

GO_INIT, GO_OVERLAPPED, GO_ARTIFACT = "golambda-init-rie", "golambda-overlapped-rie", "golambda-artifact-rie"
NAIVE, LWA = "naive-lambda-rie", "lwa-fastapi-rie"


class ProgramSystem:
    """Any program that speaks the runtime API: from the emulator's spawn to the answer of the first invocation."""

    def __init__(self, name: str, payloads: tuple[str, ...], command: Callable[[], launch.Command]) -> None:
        """`command` is asked for each start."""
        self.name, self.payloads, self._command = name, payloads, command

    def run(self, payload: Payload) -> Run:
        event = payload.event()
        argv, env = self._command()
        emulator = Emulator(env=env, command=argv)
        start = time.monotonic_ns()
        with emulator:
            listening = time.monotonic_ns()
            answer = emulator.invoke(event)
            end = time.monotonic_ns()
            pids = [pid for pid in emulator.pids() if pid != emulator.pid]
            seen = Memory(proc.memory(pids).peak_rss, {})
        response = decode_answer(answer)
        payload.check(response)
        phases = detailed(between(("emulator",), [start, listening]), dict(response.headers))
        return made(start, end, phases, seen)


def golambda(name: str, model: Manifest) -> ProgramSystem | None:
    """The Go Lambda of that name: the model loaded at init or overlapped; or overlapped, with our own artifact.

    None where it cannot be built.
    """
    binary = launch.build_golambda()
    if binary is None:
        return None
    library = Path(ort_capi.find_library())
    load = "init" if name == GO_INIT else "overlapped"
    graph, finished = model.path, False
    if name == GO_ARTIFACT:
        chosen = chosen_artifact(model)
        graph, finished = Path(chosen.graph), artifact.optimise_level(chosen.family) == 0
    env = launch.golambda_environ(graph, model.name, library, load, finished=finished)
    return ProgramSystem(name, (NESTED, "binary"), lambda: ([str(binary)], env))


def lwa_fastapi(model: Manifest) -> ProgramSystem | None:
    """FastAPI behind AWS's Lambda Web Adapter; None where that cannot be built."""
    binary = lwa.build()
    if binary is None:
        return None
    return ProgramSystem(LWA, (NESTED,), lambda: lwa.command(binary, model.path, processes.free_port()))


def naive_lambda_rie(model: Manifest) -> RieSystem:
    """The naive Lambda in the emulator, with its own virtual environment; it loads its model while it is imported."""
    argv, environ = launch.naive_lambda_command(model.path)
    env = {name: environ[name] for name in ("PYTHONPATH", "MODEL_NAME", "MODEL_PATH", "ORT_DISABLE_TELEMETRY")}
    return RieSystem(NAIVE, (NESTED, "jpeg"), argv[-1], env, python=argv[0], client=AWSLAMBDARIC)
