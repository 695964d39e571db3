"""Many streams through the gateway: what it loses and adds, beside the same streams without it.

    python -m bench.gateway.streams --streams 2000 --tokens 200

The server has a CPU of its own where there are two; the upstream and the client share the other.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import processes
from models import manifest, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CPUS = sorted(os.sched_getaffinity(0))
PATH = "/v1/chat/completions"
MODEL = """name = "chat"
version = "1"
description = "for a measurement"
licence = "-"
source = "bench/gateway"
[upstream]
url = "http://127.0.0.1:{port}/v1"
model = "m"
"""


@contextmanager
def started(*command: str, cpu: int, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process on one CPU."""

    def settle() -> None:
        os.sched_setaffinity(0, {cpu})
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE if "bench.gateway.pace" in command else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=settle,  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def paced(tokens: int) -> Iterator[int]:
    """The port of an upstream."""
    with started("-m", "bench.gateway.pace", "upstream", str(tokens), cpu=CPUS[-1]) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def gateway(upstream_port: int) -> Iterator[tuple[int, int]]:
    """The port of the server over that upstream, and its process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "chat")
        folder.mkdir()
        (folder / "model.toml").write_text(MODEL.format(port=upstream_port))
        prepare.prepare(manifest.read(folder))
        port = processes.free_port()
        variables = {"MODEL_REPOSITORY": temporary, "MODEL_NAME": "chat"}
        with started("-m", "function.server", "--port", str(port), cpu=CPUS[0], **variables) as process:
            while port not in processes.listening_ports(process.pid):
                time.sleep(0.02)
            yield port, process.pid


def timed(port: int, streams: int) -> dict[str, Any]:
    """What the client has measured."""
    with started("-m", "bench.gateway.pace", "client", str(port), PATH, "chat", str(streams), cpu=CPUS[-1]) as process:
        assert process.stdout is not None
        found: dict[str, Any] = json.loads(process.stdout.readline())
        return found


def cpu_s(pid: int) -> float:
    """Of user and system, since it began."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def main() -> None:
    """Prints one line for the upstream alone and one for the way through the gateway."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=200, help="of each stream, 20 a second")
    given = parser.parse_args()
    with paced(given.tokens) as port:
        print("alone", json.dumps(timed(port, given.streams)), flush=True)
        with gateway(port) as (through, pid):
            idle = resident_mb(pid)
            before, begun = cpu_s(pid), time.monotonic()
            found = timed(through, given.streams)
            found |= {"cpu_share": round((cpu_s(pid) - before) / (time.monotonic() - begun), 2)}
            found |= {"idle_mb": round(idle, 1), "resident_mb": round(resident_mb(pid), 1)}
            print("gateway", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
