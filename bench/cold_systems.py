"""The systems of the cold-start benchmark: each is spawned, answers one payload, and says what took how long."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from bench.peers import launch
from function import artifact, cpu, ort_api, repository
from infra.emulator import Emulator
from infra.payload import HttpResponse, decode_answer
from infra.rie import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.payloads import Payload
    from models.manifest import Manifest

HERE = Path(__file__).parent
# In the order in which they pass; `rest` is what no clock is set on: the answer's way back, base64, waiting.
PHASES = ("emulator", "interpreter", "awslambdaric", "imports", "event", "load", "decode", "infer", "encode", "rest")


@dataclass
class Run:
    """One cold start. `phases` in ms add up to `total_ms`; `mapped` are the files in the process's memory map."""

    total_ms: float
    phases: dict[str, float]
    peak_rss_mb: float
    mapped: set[Path] = field(default_factory=set)


class System(Protocol):
    """Something that can be started cold; `payloads` are the ones it understands."""

    name: str
    payloads: tuple[str, ...]

    def run(self, payload: Payload) -> Run:
        """Starts it, times it up to its first answer, ends it; WrongAnswerError when that answer is not right."""


class RieSystem:
    """A Lambda function in the emulator: from the emulator's spawn to the answer of the first invocation."""

    def __init__(
        self,
        name: str,
        payloads: tuple[str, ...],
        handler: str,
        env: Mapping[str, str],
        *,
        cwd: Path = ROOT,
        python: str = sys.executable,
    ) -> None:
        self.name, self.payloads, self._cwd, self._python = name, payloads, cwd, python
        path = [str(HERE / "cold_hooks"), *filter(None, [env.get("PYTHONPATH")])]
        self._env = {**env, "COLD_HANDLER": handler, "PYTHONPATH": ":".join(path)}

    def run(self, payload: Payload) -> Run:
        event = payload.event()
        emulator = Emulator("bench.cold_lambda.handler", self._env, self._cwd, self._python)
        start = time.monotonic_ns()
        with emulator:
            listening = time.monotonic_ns()
            answer = emulator.invoke(event)
            end = time.monotonic_ns()
            peak = max(_peak_rss_mb(pid) for pid in emulator.pids() if pid != emulator.pid)
        response = decode_answer(answer)
        payload.check(response)
        headers = dict(response.headers)
        stamps = [start, listening, *map(int, headers["x-cold-ns"].split(","))]
        phases = _between(("emulator", "interpreter", "awslambdaric", "imports", "event"), stamps)
        return Run((end - start) / 1e6, _whole(phases | _server_timing(headers), start, end), peak)


class ProcessSystem:
    """The handler in a bare interpreter: from spawn to the line with its answer."""

    name = "zeroserve-process"
    payloads = ("json-nested", "json-flat", "binary", "jpeg")

    def __init__(self, model: Manifest, folder: Path) -> None:
        """`folder` takes the events as files."""
        self._folder = folder
        self._env = {"PYTHONPATH": str(ROOT), **_model_env(model)}

    def run(self, payload: Payload) -> Run:
        event = self._folder / f"{payload.name}.event.json"
        event.write_bytes(payload.event())
        start = time.monotonic_ns()
        # -P: the script's own folder, whose modules are the benchmark's, stays off the path.
        with _spawned([sys.executable, "-P", str(HERE / "cold_process.py"), str(event)], self._env) as process:
            answer = process.output.readline()
            end = time.monotonic_ns()
            stamps = json.loads(process.output.readline())
            peak, mapped = _peak_rss_mb(process.pid), _mapped(process.pid)
        response = decode_answer(answer)
        payload.check(response)
        phases = _between(("interpreter", "imports", "event"), [start, *stamps])
        phases |= _server_timing(dict(response.headers))
        return Run((end - start) / 1e6, _whole(phases, start, end), peak, mapped)


class FloorSystem:
    """No function at all: a Python that maps the artifact and runs once on raw FP32 read from a file."""

    name = "ort-floor"
    payloads = ("binary",)

    def __init__(self, model: Manifest, folder: Path) -> None:
        self._folder = folder
        metadata = repository.read(str(model.folder.parent), model.name)
        chosen = artifact.choose(metadata, ort_api.api().version, cpu.flags())
        assert model.image is not None
        name = model.image.input
        shape = [1 if size < 0 else size for size in metadata.inputs[name].shape]
        library = Path(ort_api.find_library()).parents[2]
        before = [str(ROOT), str(library), chosen.graph, str(artifact.optimise_level(chosen.family)), str(cpu.count(0))]
        self._arguments, self._tensor = before, [name, ",".join(map(str, shape))]

    def run(self, payload: Payload) -> Run:
        raw = self._folder / "tensor.f32"
        raw.write_bytes(payload.body)
        argv = [sys.executable, "-I", "-S", str(HERE / "cold_floor.py"), *self._arguments, str(raw), *self._tensor]
        start = time.monotonic_ns()
        with _spawned(argv, {}) as process:
            scores = process.output.readline()
            end = time.monotonic_ns()
            stamps = json.loads(process.output.readline())
            peak = _peak_rss_mb(process.pid)
        payload.check_scores(dict(enumerate(json.loads(scores))))
        phases = _between(("interpreter", "imports", "load", "event", "infer"), [start, *stamps])
        return Run((end - start) / 1e6, _whole(phases, start, end), peak)


class GoSystem:
    """The Go peer: from spawn through the line that says it listens to its first answer over HTTP."""

    payloads = ("json-nested",)

    def __init__(self, name: str, binary: Path, model: Manifest, threads: int) -> None:
        self.name = name
        self._argv, self._env = launch.goserve_command(
            binary, model.path.resolve(), Path(ort_api.find_library()), threads
        )

    def run(self, payload: Payload) -> Run:
        start = time.monotonic_ns()
        with _spawned(self._argv, self._env) as process:
            line = process.output.readline()
            listening = time.monotonic_ns()
            connection = HTTPConnection(line.split()[-1].decode(), timeout=60)
            connection.request("POST", payload.path, payload.body, dict(payload.headers))
            answer = connection.getresponse()
            body = answer.read()
            end = time.monotonic_ns()
            connection.close()
            peak = _peak_rss_mb(process.pid)
        payload.check(HttpResponse(answer.status, answer.getheaders(), body))
        # Its process, library and model are up when it listens; it does not say more.
        phases = {"load": (listening - start) / 1e6, "rest": (end - listening) / 1e6}
        return Run((end - start) / 1e6, phases, peak)


def zeroserve_rie(model: Manifest) -> RieSystem:
    """This project's function in the emulator."""
    return RieSystem("zeroserve-rie", ProcessSystem.payloads, "function.handler.handler", _model_env(model))


def naive_lambda_rie(model: Manifest) -> RieSystem:
    """The naive Lambda in the emulator, with its own virtual environment."""
    argv, environ = launch.naive_lambda_command(model.path)
    env = {name: environ[name] for name in ("PYTHONPATH", "MODEL_NAME", "MODEL_PATH", "ORT_DISABLE_TELEMETRY")}
    return RieSystem("naive-lambda-rie", ("json-nested", "jpeg"), argv[-1], env, python=argv[0])


@dataclass(frozen=True)
class _Process:
    pid: int
    output: IO[bytes]


@contextmanager
def _spawned(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[_Process]:
    """A process that is told to end by the end of its input and by SIGTERM, and in the end made to."""
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _Process(process.pid, process.stdout)
        finally:
            process.stdin.close()
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _model_env(model: Manifest) -> dict[str, str]:
    return {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name}


def _between(names: Sequence[str], stamps: Sequence[int]) -> dict[str, float]:
    """Milliseconds from each time stamp to the next, by name; stamps after the last name are left."""
    return {name: (after - before) / 1e6 for name, before, after in zip(names, stamps, stamps[1:], strict=False)}


def _server_timing(headers: Mapping[str, str]) -> dict[str, float]:
    """The phases inside the handler that it reports itself; none for a handler that reports nothing."""
    found = re.findall(r"(\w+);dur=([\d.]+)", headers.get("server-timing", ""))
    return {name: float(value) for name, value in found if name != "init"}  # init is in `imports`


def _whole(phases: dict[str, float], start: int, end: int) -> dict[str, float]:
    return {**phases, "rest": (end - start) / 1e6 - sum(phases.values())}


def _peak_rss_mb(pid: int) -> float:
    """VmHWM; ru_maxrss would count what the parent had before exec."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def _mapped(pid: int) -> set[Path]:
    columns = [line.split(maxsplit=5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {Path(each[5]) for each in columns if len(each) == 6 and each[5].startswith("/")}


def concerned(model: Manifest) -> list[Path]:
    """The folders whose files a cold start of zeroserve may read."""
    paths = sysconfig.get_paths()
    return [Path(paths[name]) for name in ("stdlib", "platlib")] + [ROOT / "function", model.prepared]
