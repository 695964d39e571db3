"""The systems of the cold-start benchmark: each is spawned, answers one payload, and says what took how long."""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.cold import page_cache
from bench.cold.run import Run, between, detailed, made, memory
from bench.payloads import NAMES, NESTED
from bench.peers import launch
from bench.proc import spawned
from function.engine import artifact, repository
from function.native import cpu, ort_capi
from infra.emulator import AWSLAMBDARIC, BOOTSTRAP, Emulator
from infra.payload import HttpResponse, decode_answer
from infra.rie import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.payloads import Payload
    from layer.unpack import Packaged
    from models.manifest import Manifest

PROGRAMS = Path(__file__).parent / "programs"  # what is spawned
PACKAGED = "zeroserve-packaged"
STAMPED = (*BOOTSTRAP[:-1], f"import sitecustomize; {BOOTSTRAP[-1]}")  # without `site` nobody else imports it


class System(Protocol):
    """Something that can be started cold; `payloads` are the ones it understands."""

    name: str
    payloads: tuple[str, ...]

    def run(self, payload: Payload) -> Run:
        """Starts it, times it up to its first answer, ends it; WrongAnswerError when that answer is not right."""


class RieSystem:
    """A Lambda function in the emulator: from the emulator's spawn to the answer of the first invocation.

    `handler`, `env`, `cwd` and `python` are the function's own, as for infra.emulator.Emulator.
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
        wrapper: str | None = None,
    ) -> None:
        self.name, self.payloads, self._cwd, self._python = name, payloads, cwd, python
        self._client, self._wrapper = client, wrapper
        path = [PROGRAMS, *filter(None, [env.get("PYTHONPATH")])]
        self._env = {**env, "COLD_HANDLER": handler, "PYTHONPATH": ":".join(map(str, path))}

    def run(self, payload: Payload) -> Run:
        event = payload.event()
        emulator = Emulator(
            "lambda_handler.handler", self._env, self._cwd, self._python, client=self._client, wrapper=self._wrapper
        )
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

    name = "zeroserve-process"
    payloads: tuple[str, ...] = NAMES

    def __init__(self, model: Manifest, folder: Path, packaged: Packaged | None = None) -> None:
        """`folder` takes the events as files; the function is the source tree's, or the packaged one."""
        self._folder = folder
        self._python = packaged.python if packaged else sys.executable
        self._env = packaged.env if packaged else {"PYTHONPATH": str(ROOT), **_model_env(model)}

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

    name = "ort-floor"
    payloads: tuple[str, ...] = ("binary",)

    def __init__(self, model: Manifest, folder: Path) -> None:
        assert model.image is not None
        metadata = repository.read(str(model.folder.parent), model.name)
        # Not asked of the library itself: while this process had it mapped, its pages could not be dropped.
        chosen = artifact.choose(metadata, version("onnxruntime"), cpu.flags())
        tensor = metadata.inputs[model.image.input]
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


class GoSystem:
    """The Go peer: from spawn through the line that says it listens to its first answer over HTTP."""

    payloads: tuple[str, ...] = (NESTED,)

    def __init__(self, name: str, binary: Path, model: Manifest, threads: int) -> None:
        self.name = name
        library = Path(ort_capi.find_library())
        self._argv, self._env = launch.goserve_command(binary, model.path, library, threads)

    def run(self, payload: Payload) -> Run:
        start = time.monotonic_ns()
        with spawned(self._argv, self._env) as process:
            address = process.line("listening on ")
            listening = time.monotonic_ns()
            connection = HTTPConnection(address.strip().decode(), timeout=60)
            connection.request("POST", payload.path, payload.body, dict(payload.headers))
            answer = connection.getresponse()
            body = answer.read()
            end = time.monotonic_ns()
            connection.close()
            seen = memory(process.pid)
        payload.check(HttpResponse(answer.status, answer.getheaders(), body))
        return made(start, end, between(("start", "request"), [start, listening, end]), seen)


def zeroserve_rie(model: Manifest) -> RieSystem:
    """This project's function in the emulator."""
    return RieSystem("zeroserve-rie", NAMES, "function.handler.handler", _model_env(model))


def zeroserve_awslambdaric_rie(model: Manifest) -> RieSystem:
    """The same with AWS's runtime client."""
    name, handler = "zeroserve-awslambdaric-rie", "function.handler.handler"
    return RieSystem(name, NAMES, handler, _model_env(model), client=AWSLAMBDARIC)


def zeroserve_packaged(packaged: Packaged) -> RieSystem:
    """function.zip and the layer as Lambda lays them out, with nothing else on the path."""
    handler, cwd, python = "function.handler.handler", packaged.cwd, packaged.python
    return RieSystem(
        PACKAGED, (NESTED, "jpeg"), handler, packaged.env, cwd=cwd, python=python, wrapper=packaged.wrapper
    )


def naive_lambda_rie(model: Manifest) -> RieSystem:
    """The naive Lambda in the emulator, with its own virtual environment; it loads its model while it is imported."""
    argv, environ = launch.naive_lambda_command(model.path)
    env = {name: environ[name] for name in ("PYTHONPATH", "MODEL_NAME", "MODEL_PATH", "ORT_DISABLE_TELEMETRY")}
    return RieSystem("naive-lambda-rie", (NESTED, "jpeg"), argv[-1], env, python=argv[0], client=AWSLAMBDARIC)


def process_command(event: Path, *options: str) -> list[str]:
    """What runs the handler once in a bare interpreter with these options; its environment needs PYTHONPATH."""
    # -P: the script's own folder, whose modules are the benchmark's, stays off the path.
    return [sys.executable, "-P", *options, str(PROGRAMS / "bare_process.py"), str(event)]


def _model_env(model: Manifest) -> dict[str, str]:
    return {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name}
