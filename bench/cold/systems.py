"""The systems of the cold-start benchmark: each is spawned, answers one payload, and says what took how long."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.cold import page_cache
from bench.cold.run import Run, between, detailed, made, memory
from bench.payloads import NAMES, NESTED
from bench.proc import spawned
from function.engine import artifact, repository
from function.native import cpu, ort_capi
from infra.emulator import AWSLAMBDARIC, BOOTSTRAP, Emulator
from infra.payload import decode_answer
from infra.rie import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.payloads import Payload
    from function.engine.artifact import Artifact
    from function.engine.repository import Metadata
    from layer.unpack import Packaged
    from models.manifest import Manifest

PROGRAMS = Path(__file__).parent / "programs"  # what is spawned
RIE, PACKAGED, PROCESS, FLOOR = "zeroserve-rie", "zeroserve-packaged", "zeroserve-process", "ort-floor"
RIE_AWS = "zeroserve-awslambdaric-rie"
HANDLER = "lambda_handler.handler"  # in PROGRAMS, around the real one
STAMPED = (*BOOTSTRAP[:-1], f"import sitecustomize; {BOOTSTRAP[-1]}")  # without `site` nobody else imports it


class System(Protocol):
    """Something that can be started cold; `payloads` are the ones it understands."""

    name: str
    payloads: tuple[str, ...]

    def run(self, payload: Payload) -> Run:
        """Starts it, times it up to its first answer, ends it; WrongAnswerError when that answer is not right."""


class RieSystem:
    """A Lambda function in the emulator: from the emulator's spawn to the answer of the first invocation.

    `handler`, `env`, `cwd`, `python` and `client` are the function's own, as for infra.emulator.Emulator; `command`
    takes the place of the latter two.
    """

    def __init__(  # noqa: PLR0913
        self,
        name: str,
        payloads: tuple[str, ...],
        handler: str,
        env: Mapping[str, str],
        *,
        cwd: Path = ROOT,
        python: str = sys.executable,
        client: Sequence[str] = STAMPED,
        command: Sequence[str] = (),
    ) -> None:
        self.name, self.payloads, self._cwd, self._python = name, payloads, cwd, python
        self._client, self._command = client, command
        path = [PROGRAMS, *filter(None, [env.get("PYTHONPATH")])]
        self._env = {**env, "COLD_HANDLER": handler, "PYTHONPATH": ":".join(map(str, path))}

    def run(self, payload: Payload) -> Run:
        event = payload.event()
        emulator = Emulator(HANDLER, self._env, self._cwd, self._python, client=self._client, command=self._command)
        start = time.monotonic_ns()
        with emulator:
            listening = time.monotonic_ns()
            answer = emulator.invoke(event)
            end = time.monotonic_ns()
            (function,) = (pid for pid in emulator.pids() if pid != emulator.pid)
            seen = memory(function)
        response = decode_answer(answer)
        payload.check(response)
        headers = dict(response.headers)
        stamps = [start, listening, *map(int, headers["x-cold-ns"].split(","))]
        client = "awslambdaric" if self._client == AWSLAMBDARIC else "client"
        names = ("emulator", "interpreter", client, "imports", "event", "request")
        return made(start, end, detailed(between(names, stamps), headers), seen)


class ProcessSystem:
    """The handler in a bare interpreter: from spawn to the line with its answer."""

    name = PROCESS
    payloads: tuple[str, ...] = NAMES

    def __init__(self, model: Manifest, folder: Path, packaged: Packaged | None = None) -> None:
        """`folder` takes the events as files; the function is the source tree's, or the packaged one."""
        self._folder = folder
        self._python = packaged.python if packaged else sys.executable
        self._env = packaged.env if packaged else {"PYTHONPATH": str(ROOT), **model_env(model)}

    def run(self, payload: Payload) -> Run:
        event = self._folder / f"{payload.name}.event.json"
        event.write_bytes(payload.event())
        start = time.monotonic_ns()
        with spawned([self._python, *process_command(event)[1:]], self._env) as process:
            answer = process.line("answer ")
            end = time.monotonic_ns()
            stamps, modules = json.loads(process.line("seen "))
            seen = memory(process.pid)
        response = decode_answer(answer)
        payload.check(response)
        phases = between(("interpreter", "imports", "event", "request"), [start, *stamps])
        run = made(start, end, detailed(phases, dict(response.headers)), seen)
        # The kernel has told real paths: a file must not count twice where an environment is a link.
        for path in map(Path.resolve, map(Path, modules)):
            run.files.setdefault(path, 0)
        return run

    def touched(self, payload: Payload, artifacts: Path) -> dict[Path, int]:
        """Bytes of each file that a cold start with this payload needs: what a lazily loaded image would fetch."""
        return page_cache.touched(artifacts, lambda: self.run(payload).files)


class FloorSystem:
    """No function at all: a Python that maps the artifact and runs once on raw FP32 read from a file."""

    name = FLOOR
    payloads: tuple[str, ...] = ("binary",)

    def __init__(self, model: Manifest, folder: Path) -> None:
        assert model.image is not None
        tensor = _metadata(model).inputs[model.image.input]
        chosen = chosen_artifact(model)
        shape = ",".join(str(max(1, size)) for size in tensor.shape)
        packages = Path(ort_capi.find_library()).parents[2]
        self._raw = folder / "tensor.f32"
        self._argv = [
            sys.executable,
            "-I",
            "-S",
            str(PROGRAMS / "ort_floor.py"),
            str(ROOT),
            str(packages),
            chosen.graph,
        ]
        self._argv += [str(artifact.optimise_level(chosen.family)), str(cpu.count(0)), str(self._raw)]
        self._argv += [tensor.name, shape]

    def run(self, payload: Payload) -> Run:
        self._raw.write_bytes(payload.body)
        start = time.monotonic_ns()
        with spawned(self._argv, {}) as process:
            scores = process.line("answer ")
            end = time.monotonic_ns()
            stamps = json.loads(process.line("seen "))
            seen = memory(process.pid)
        payload.check_scores(dict(enumerate(json.loads(scores))))
        phases = between(("interpreter", "imports", "load", "event", "infer"), [start, *stamps])
        return made(start, end, phases, seen)


def zeroserve_rie(model: Manifest) -> RieSystem:
    """This project's function in the emulator."""
    return RieSystem(RIE, NAMES, "function.handler.handler", model_env(model))


def zeroserve_awslambdaric_rie(model: Manifest) -> RieSystem:
    """The same with AWS's runtime client."""
    return RieSystem(RIE_AWS, NAMES, "function.handler.handler", model_env(model), client=AWSLAMBDARIC)


def zeroserve_packaged(packaged: Packaged) -> RieSystem:
    """function.zip and the layer as Lambda lays them out, with nothing else on the path."""
    handler, cwd, command = "function.handler.handler", packaged.cwd, packaged.command(HANDLER)
    return RieSystem(PACKAGED, (NESTED, "binary", "jpeg"), handler, packaged.env, cwd=cwd, command=command)


def chosen_artifact(model: Manifest) -> Artifact:
    """The artifact that the function would load here."""
    # The version is not asked of the library itself: while this process had it mapped, its pages could not be dropped.
    return artifact.choose(_metadata(model), version("onnxruntime"), cpu.flags())


def _metadata(model: Manifest) -> Metadata:
    return repository.read(str(model.folder.parent), model.name)


def process_command(event: Path, *options: str) -> list[str]:
    """What runs the handler once in a bare interpreter with these options; its environment needs PYTHONPATH."""
    # -P: the script's own folder, whose modules are the benchmark's, stays off the path.
    return [sys.executable, "-P", *options, str(PROGRAMS / "bare_process.py"), str(event)]


def model_env(model: Manifest) -> dict[str, str]:
    """The settings that make the function serve this model."""
    return {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name}
