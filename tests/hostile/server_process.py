"""`python -m function.server` as a process that can be limited, and what the kernel says of a process."""

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
from typing import TYPE_CHECKING, NamedTuple

from infra import processes
from models import manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "hostile"  # reproducers, curves, bodies that take seconds to make
START_SECONDS = 60.0
STOP_SECONDS = 60.0
MODEL = "digits"


class Usage(NamedTuple):
    """What a process holds: resident bytes, the largest they have been, those of mapped files, descriptors, threads."""

    rss: int
    peak: int
    of_files: int
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    """From proc(5); FileNotFoundError or ProcessLookupError when the process has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = {
        name: int(value) for name, value in re.findall(r"^(VmRSS|VmHWM|RssFile|Threads):\s+(\d+)", status, re.MULTILINE)
    }
    if "VmRSS" not in numbers:
        raise ProcessLookupError(f"process {pid} has ended")
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  (iterdir would hold one more)
    rss, peak, of_files = (numbers[name] * 1024 for name in ("VmRSS", "VmHWM", "RssFile"))
    return Usage(rss, peak, of_files, descriptors, numbers["Threads"])


@dataclass(frozen=True)
class ServerProcess:
    """A server that runs: its port on 127.0.0.1, its process, and the file that takes its log."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def words(self) -> str:
        """The end of its log, for the message of a failure."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4000))
            return file.read().decode(errors="replace")

    def usage(self) -> Usage:
        return usage(self.pid)

    def get(self, path: str, timeout: float = 30.0) -> int:
        """The status of a GET on a connection of its own; OSError when none comes in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The variables of both entries in these tests: one thread for an inference, so that both round alike."""
    return {
        **os.environ,
        "MODEL_REPOSITORY": str(manifest.HERE),
        "MODEL_NAME": MODEL,
        "INTRA_OP_THREADS": "1",
        **settings,
    }


@contextmanager
def serve(settings: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """The server of the digits, ready. `prefix` is a command that limits itself and then becomes the server.

    RuntimeError, with the server's own words, when it does not start.
    """
    port = processes.free_port()
    argv = [*prefix, sys.executable, "-m", "function.server", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as words:
            process = subprocess.Popen(
                argv, cwd=ROOT, env=environment(settings or {}), stdin=subprocess.DEVNULL, stdout=words, stderr=words
            )
        server = ServerProcess(port, process, log)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(server: ServerProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.alive():
        # Its own socket, not a stranger's who took the port first.
        if server.port in processes.listening_ports(server.pid):
            try:
                if server.get("/v2/health/ready") == 200:
                    return
            except OSError:
                pass
        time.sleep(0.02)
    raise RuntimeError(f"the server is not ready; it said: {server.words()}")
