"""Feast's own feature server, in an environment of its own, on the Redis that this project reads as well."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import launch
from bench.peers.launch import Server
from infra import processes, venvs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.features.stores import Cards

# Feast's guide to tuning names -1, two workers for each CPU and one more; one for each suits a small machine.
WORKERS = {"feast-server, workers -1": -1, "feast-server, one worker for each CPU": len(os.sched_getaffinity(0))}
# Also of that guide: a registry that is hardly looked at; workers are not replaced at all while they are measured.
OPTIONS = [
    *("--worker-connections", "2000", "--max-requests", "100000000", "--max-requests-jitter", "0"),
    *("--registry_ttl_sec", "300", "--no-access-log"),
]
PROGRAM = Path(__file__).with_name("programs") / "feast_repo.py"
_ENVIRON = {"FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}


def python() -> Path | None:
    """The interpreter with Feast, made when first asked for; None, with the reason printed, where it cannot be."""
    try:
        return venvs.ensure("feast")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"feast-server is left out: its environment cannot be made ({error})")
        return None


def version(interpreter: Path) -> str:
    """Feast's own."""
    program = "from importlib import metadata; print(metadata.version('feast'))"
    return subprocess.run([str(interpreter), "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def repository(interpreter: Path, cards: Cards, redis_url: str, folder: Path) -> None:
    """Makes a Feast repository in `folder`, over the rows that lie in Redis."""
    view = cards.view
    argv = [str(interpreter), str(PROGRAM), redis_url.partition("//")[2], view.project, view.name, cards.key]
    env = {**os.environ, **_ENVIRON}
    subprocess.run([*argv, *view.names], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def running(interpreter: Path, folder: Path, workers: int) -> Iterator[Server]:
    """`feast serve` on a free loopback port; RuntimeError when it does not answer."""
    port = processes.free_port()
    argv = [str(interpreter.with_name("feast")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--workers", str(workers), *OPTIONS]
    env = {**os.environ, **_ENVIRON}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, cwd=folder, env=env, stdout=quiet, stderr=quiet, process_group=0) as process:
        try:
            deadline = time.monotonic() + launch.START_SECONDS
            while not _healthy(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"`{' '.join(argv)}` in {folder} does not answer")
                time.sleep(0.1)
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(launch.STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=launch.START_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
