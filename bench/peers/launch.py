"""Starts and stops the rivals of the benchmarks: goserve, fastapi_pool and naive_lambda."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.gobuild import CACHE, go_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START_SECONDS = 120  # a server that has not answered by then is broken, however busy the machine
GOLAMBDA_THREADS = "1"  # of one inference; with ORT's default (0) the first prediction came later
STOP_SECONDS = 40  # longer than the servers' own grace for requests that still run

Command = tuple[list[str], dict[str, str]]  # arguments and environment of a process


@dataclass(frozen=True)
class Server:
    """A peer that runs and is ready."""

    url: str  # scheme, host and port
    pid: int

    def pids(self) -> list[int]:
        """Return the process ids of the peer: the server's first, then its descendants'."""
        return _descendants(self.pid)


def environment(peer: str) -> Path:
    """Return the virtual environment of `peer`; made anew when its requirements.txt or the Python changes."""
    requirements = HERE / peer / "requirements.txt"
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = CACHE / peer / key
    done = folder / ".ready"  # an interrupted installation has none and is begun again
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        locked = ["--require-hashes", "-r", str(requirements)]
        subprocess.run([str(folder / "bin" / "python"), *install, *locked], check=True)
        done.touch()
    return folder


def build_goserve() -> Path | None:
    """Return the Go peer's executable; None, with the reason printed, where it cannot be built."""
    return go_binary(HERE / "goserve", "goserve-peer")


def build_golambda() -> Path | None:
    """Return the Go Lambda's executable; None, with the reason printed, where it cannot be built."""
    return go_binary(HERE / "golambda", "golambda")


def goserve_command(binary: Path, model: Path, library: Path, threads: int) -> Command:
    """Return what starts the Go peer with the ONNX file `model`, named after its folder.

    It prints "listening on HOST:PORT" once it is ready. `library` is the wheel's libonnxruntime;
    `threads` are ONNX Runtime's for one inference, 0 for its default.
    """
    argv = [str(binary), "-library", str(library), "-threads", str(threads)]
    return [*argv, "-model", str(model), "-name", model.parent.name], _environ()


def naive_lambda_command(model: Path) -> Command:
    """Return what runs the naive Lambda under a runtime API: append it to the emulator's own arguments."""
    python = environment("naive_lambda") / "bin" / "python"
    environ = _environ(
        PYTHONPATH=str(HERE / "naive_lambda"), MODEL_NAME=model.parent.name, MODEL_PATH=str(model.resolve())
    )
    return [str(python), "-m", "awslambdaric", "app.handler"], environ


def golambda_environ(graph: Path, name: str, library: Path, load: str, *, finished: bool = False) -> dict[str, str]:
    """Return what the Go Lambda is told: it serves the ONNX file `graph` as `name`.

    `load` is "init" or "overlapped", see golambda/main.go; a `finished` graph is run as it is.
    """
    return {
        "MODEL_PATH": str(graph.resolve()),
        "MODEL_NAME": name,
        "ORT_LIBRARY": str(library),
        "ORT_DISABLE_TELEMETRY": "1",
        "LOAD": load,
        "GRAPH": "finished" if finished else "raw",
        "INTRA_OP_THREADS": GOLAMBDA_THREADS,
        # No garbage collection before memory is short: 2 of the 30 ms in which it decodes 3 MB of JSON.
        "GOGC": "off",
        "GOMEMLIMIT": "1400MiB",
    }


def fastapi_command(model: Path, workers: int) -> Command:
    """Return what starts the FastAPI peer with `workers` processes on a free loopback port.

    It prints "listening on HOST:PORT" at once; what connects then waits for its models.
    """
    python = environment("fastapi_pool") / "bin" / "python"
    argv = [str(python), "-m", "bench.peers.fastapi_pool.serve", "--workers", str(workers)]
    argv += ["--model", str(model.resolve()), "--name", model.parent.name]
    return argv, _environ(PYTHONPATH=str(ROOT))


@contextmanager
def goserve(model: Path, library: Path, threads: int) -> Iterator[Server]:
    """Run the Go peer on a free loopback port; RuntimeError where it cannot be built."""
    binary = build_goserve()
    if binary is None:
        raise RuntimeError("expected a Go peer to run, but it cannot be built; the reason is printed above")
    with _running(goserve_command(binary, model, library, threads)) as server:
        yield server


@contextmanager
def fastapi_pool(model: Path, workers: int = 4) -> Iterator[Server]:
    """Run the FastAPI peer with `workers` processes on a free loopback port."""
    with _running(fastapi_command(model, workers)) as server:
        yield server


def _environ(**extra: str) -> dict[str, str]:
    # ONNX Runtime sends telemetry unless told otherwise: off for every system that is compared.
    return {**os.environ, "ORT_DISABLE_TELEMETRY": "1", **extra}


def _descendants(pid: int) -> list[int]:
    pids = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread may end while we look
            for child in children.read_text().split():
                pids += _descendants(int(child))
    return pids


@contextmanager
def _running(command: Command) -> Iterator[Server]:
    argv, environ = command
    # A process group of its own, so that nothing is left of a server that has to be killed.
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout is not None
        # Ends the two waits for the server, should it hang before it is ready.
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError(f'expected "listening on HOST:PORT" from {argv[0]}, got {line!r}')
            url = "http://" + line.split()[-1]
            with urllib.request.urlopen(url + "/ready", timeout=START_SECONDS):
                watchdog.cancel()
            yield Server(url, process.pid)
        finally:
            watchdog.cancel()
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
