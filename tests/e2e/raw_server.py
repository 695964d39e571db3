"""A server of its own, with limits that a test makes short, and requests to it byte by byte."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra import processes
from tests import support
from tests.answer import Answer
from tests.e2e.http_client import ask, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from socket import socket

PATIENCE = 60.0  # seconds after which what was waited for counts as never to come
MAIN = "from function.server.__main__ import main\nmain()\n"


@dataclass(frozen=True)
class RawServer:
    """A running server; `process` is its own."""

    port: int
    process: subprocess.Popen[bytes]
    descriptor: int = -1  # of what it writes

    def words(self) -> str:
        """All that it has written up to now, its log first of all."""
        return os.pread(self.descriptor, 1 << 30, 0).decode(errors="replace")  # at a place: it goes on writing there

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket:
        return connect(self.url)

    def sends(self, *pieces: bytes) -> socket:
        """A connection on which `pieces` have been sent."""
        connection = self.connect()
        for piece in pieces:
            connection.sendall(piece)
        return connection

    def refused(self, reason: str) -> int:
        """How many were turned away for it, by the server's own count."""
        name = f'zeroserve_requests_refused_total{{reason="{reason}"}} '
        lines = ask(self.url, "GET", "/metrics").body.decode().splitlines()
        return sum(int(line.removeprefix(name)) for line in lines if line.startswith(name))

    def resident_mb(self) -> float:
        """VmRSS."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@contextmanager
def running(
    repository: Path,
    shortened: str = "",
    settings: Mapping[str, str] | None = None,
    files: int = 0,
    ready: str = "/v2/health/ready",
) -> Iterator[RawServer]:
    """`python -m function.server`; `shortened` is code that runs before it, `files` its limit of descriptors.

    It runs when `ready` answers 200.
    """
    port = processes.free_port()
    env = {**os.environ, "MODEL_REPOSITORY": str(repository), "MODEL_NAME": "digits", **(settings or {})}
    argv = [sys.executable, "-c", shortened + "\n" + MAIN, "--port", str(port)]
    limits = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(argv, cwd=support.ROOT, env=env, stdout=words, stderr=words, preexec_fn=limits) as process,  # noqa: PLW1509
    ):
        try:
            wait_until(lambda: process.poll() is not None or _ready(process.pid, port, ready), "the server is ready")
            if process.poll() is None:
                yield RawServer(port, process, words.fileno())
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            words.seek(0)
            said = words.read().decode(errors="replace")
        assert "Traceback" not in said, said


def _ready(pid: int, port: int, path: str) -> bool:
    if port not in processes.listening_ports(pid):
        return False
    return ask(f"http://127.0.0.1:{port}", "GET", path).status == 200


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


def read_answer(connection: socket) -> Answer:
    """One answer, and no byte of what follows; its header names in lower case. ConnectionError where there is none."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError(f"the connection was closed after {head!r}")
        head += byte
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    while len(body) < int(headers["content-length"]):
        piece = connection.recv(int(headers["content-length"]) - len(body))
        if not piece:
            raise ConnectionError(f"the connection was closed after {body!r}")
        body += piece
    return Answer(int(first.split()[1]), headers, body)


def check_refusal(answer: Answer, status: int, words: str = "") -> None:
    """An error in the one form that all have, on a connection that ends with it."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    document = json.loads(answer.body)
    assert set(document) == {"error"}
    assert words in document["error"]


def post(body: bytes, *lines: str, path: str = "/classify", declared: int | None = None) -> bytes:
    """A request as bytes."""
    length = len(body) if declared is None else declared
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines, "", ""]
    return "\r\n".join(head).encode() + body
