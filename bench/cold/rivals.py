"""The rivals of the cold-start benchmark that run in the emulator: Go Lambdas, and a tutorial's in Python."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cold.run import Run, between, detailed, made, memory
from bench.cold.systems import RieSystem, chosen_artifact
from bench.payloads import NESTED
from bench.peers import launch
from function.engine import artifact
from function.native import ort_capi
from infra.emulator import Emulator
from infra.payload import decode_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.payloads import Payload
    from models.manifest import Manifest

GO_INIT, GO_OVERLAPPED, GO_ARTIFACT = "golambda-init-rie", "golambda-overlapped-rie", "golambda-artifact-rie"
NAIVE = "naive-lambda-rie"


class GoLambdaSystem:
    """The Go Lambda in the emulator: from the emulator's spawn to the answer of the first invocation."""

    payloads: tuple[str, ...] = (NESTED, "binary")

    def __init__(self, name: str, binary: Path, env: Mapping[str, str]) -> None:
        self.name, self._binary, self._env = name, binary, env

    def run(self, payload: Payload) -> Run:
        event = payload.event()
        emulator = Emulator(env=self._env, command=[str(self._binary)])
        start = time.monotonic_ns()
        with emulator:
            listening = time.monotonic_ns()
            answer = emulator.invoke(event)
            end = time.monotonic_ns()
            (function,) = (pid for pid in emulator.pids() if pid != emulator.pid)
            seen = memory(function)
        response = decode_answer(answer)
        payload.check(response)
        phases = detailed(between(("emulator",), [start, listening]), dict(response.headers))
        return made(start, end, phases, seen)


def golambda(name: str, binary: Path, model: Manifest) -> GoLambdaSystem:
    """The Go Lambda of that name: the model loaded at init or overlapped; or overlapped, with our own artifact."""
    library = Path(ort_capi.find_library())
    load = "init" if name == GO_INIT else "overlapped"
    graph, finished = model.path, False
    if name == GO_ARTIFACT:
        chosen = chosen_artifact(model)
        graph, finished = Path(chosen.graph), artifact.optimise_level(chosen.family) == 0
    return GoLambdaSystem(name, binary, launch.golambda_environ(graph, model.name, library, load, finished=finished))


def naive_lambda_rie(model: Manifest) -> RieSystem:
    """The naive Lambda in the emulator, with its own virtual environment; it loads its model while it is imported."""
    argv, environ = launch.naive_lambda_command(model.path)
    env = {name: environ[name] for name in ("PYTHONPATH", "MODEL_NAME", "MODEL_PATH", "ORT_DISABLE_TELEMETRY")}
    return RieSystem(NAIVE, (NESTED, "jpeg"), argv[-1], env, python=argv[0])
