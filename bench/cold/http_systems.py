"""The plain HTTP servers of the cold-start benchmark: from spawn to the first answer."""

from __future__ import annotations

import os
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

from bench import proc
from bench.cold.run import Memory, Run, between, detailed, made, memory
from bench.cold.systems import model_env
from bench.payloads import NAMES, NESTED
from bench.peers import launch
from bench.peers.launch import Server
from bench.proc import spawned
from function.native import ort_capi
from infra import processes
from infra.payload import HttpResponse
from infra.rie import ROOT

if TYPE_CHECKING:
    from bench.payloads import Payload
    from bench.proc import Process
    from models.manifest import Manifest

SERVER = "zeroserve-server"
DEADLINE_S = 60.0


class HttpSystem:
    """A server that says where it listens as soon as it does; `start` is the time until then."""

    def __init__(self, name: str, payloads: tuple[str, ...], command: launch.Command) -> None:
        self.name, self.payloads = name, payloads
        self._argv, self._env = command

    def run(self, payload: Payload) -> Run:
        start = time.monotonic_ns()
        with spawned(self._argv, self._env) as process:
            connection = self._connected(process)
            listening = time.monotonic_ns()
            connection.request("POST", payload.path, payload.body, dict(payload.headers))
            answer = connection.getresponse()
            body = answer.read()
            end = time.monotonic_ns()
            connection.close()
            pids = Server("", process.pid).pids()
            seen = Memory(proc.memory(pids).peak_rss, memory(process.pid).mapped)
        headers = [(name.lower(), value) for name, value in answer.getheaders()]
        payload.check(HttpResponse(answer.status, headers, body))
        phases = between(("start", "request"), [start, listening, end])
        return made(start, end, detailed(phases, dict(headers)), seen)

    def _connected(self, process: Process) -> HTTPConnection:
        return _connect(process.line("listening on ").strip().decode())


class ServerSystem(HttpSystem):
    """`make serve`: its port is tried until it takes a connection."""

    def __init__(self, model: Manifest) -> None:
        self._port = processes.free_port()
        env = {**os.environ, **model_env(model), "PYTHONPATH": str(ROOT)}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is deployed was compiled before
        super().__init__(SERVER, NAMES, ([sys.executable, "-m", "function.server", "--port", str(self._port)], env))

    def _connected(self, process: Process) -> HTTPConnection:  # noqa: ARG002  (it says nothing)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return _connect(f"127.0.0.1:{self._port}")
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.0005)


def _connect(address: str) -> HTTPConnection:
    connection = HTTPConnection(address, timeout=DEADLINE_S)
    connection.connect()
    return connection


def goserve(name: str, binary: Path, model: Manifest, threads: int) -> HttpSystem:
    """The Go peer: it listens when its model is loaded."""
    library = Path(ort_capi.find_library())
    return HttpSystem(name, (NESTED, "binary"), launch.goserve_command(binary, model.path, library, threads))


def fastapi(name: str, model: Manifest) -> HttpSystem:
    """FastAPI with 4 processes: it takes connections at once, and answers when all of them have loaded the model."""
    return HttpSystem(name, (NESTED,), launch.fastapi_command(model.path, 4))
