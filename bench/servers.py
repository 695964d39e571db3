"""The HTTP servers that are compared: started on loopback, asked once whether their answer is right."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench import payloads
from bench.peers import launch
from bench.peers.launch import Server
from function.native import ort_capi
from infra import processes
from infra.payload import HttpResponse
from infra.rie import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from bench.payloads import Payload
    from models.manifest import Manifest

FASTAPI, GO, OURS = NAMES = ("fastapi-4", "goserve-peer", "zeroserve-asgi")  # the order of their turns
GO_THREADS = {"goserve-peer, ORT's default of threads": 0, "goserve-peer, 1 thread": 1}


@dataclass(frozen=True)
class System:
    """A server that can be started; `payloads` are the ones that it understands."""

    name: str
    payloads: tuple[str, ...]
    start: Callable[[], AbstractContextManager[Server]]


def systems(names: Sequence[str], model: Manifest) -> list[System]:
    """The named ones in the order of NAMES; the Go peer once for each of GO_THREADS, or left out if it cannot be built.

    Its reason is printed.
    """
    found: list[System] = []
    for name in (name for name in NAMES if name in names):
        if name == OURS:
            found.append(System(name, payloads.NAMES, lambda: zeroserve(model)))
        elif name == FASTAPI:
            found.append(System(name, (payloads.NESTED,), lambda: launch.fastapi_pool(model.path, workers=4)))
        elif launch.build_goserve():
            found += [goserve(model, variant) for variant in GO_THREADS]
    return found


def goserve(model: Manifest, variant: str) -> System:
    """The Go peer with one of the settings of GO_THREADS."""
    library = Path(ort_capi.find_library())
    return System(variant, (payloads.NESTED,), lambda: launch.goserve(model.path, library, GO_THREADS[variant]))


@contextmanager
def zeroserve(model: Manifest, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """This project's HTTP server, as `make serve` runs it; RuntimeError, with its own words, when it does not start."""
    port = processes.free_port()
    env = {**os.environ, "MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name, **(settings or {})}
    argv = [sys.executable, "-m", "function.server", "--port", str(port)]
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(argv, cwd=ROOT, env=env, stdout=words, stderr=words) as process,
    ):
        try:
            deadline = time.monotonic() + launch.START_SECONDS
            while not _ready(process.pid, port):
                if process.poll() is not None or time.monotonic() > deadline:
                    words.seek(0)
                    raise RuntimeError(f"the server is not ready; it said: {words.read().decode(errors='replace')}")
                time.sleep(0.02)
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(launch.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def ask(url: str, payload: Payload) -> HttpResponse:
    """The answer to one request on a connection of its own; header names in lower case."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("POST", payload.path, payload.body, dict(payload.headers))
        answer = connection.getresponse()
        headers = [(name.lower(), value) for name, value in answer.getheaders()]
        return HttpResponse(answer.status, headers, answer.read())
    finally:
        connection.close()


def timing(headers: Mapping[str, str]) -> dict[str, float]:
    """What a server says of its own work in Server-Timing, in ms by phase; nothing where it says nothing."""
    told = re.findall(r"(\w+);dur=([\d.]+)", headers.get("server-timing", ""))
    return {name: float(value) for name, value in told}


def _ready(pid: int, port: int) -> bool:
    # Its own socket, not a stranger's who took the port first; it listens before its model is loaded.
    if port not in processes.listening_ports(pid):
        return False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=launch.START_SECONDS)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
