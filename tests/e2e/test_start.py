"""The start of a server: health is answered while the model loads, and readiness is the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from infra import processes
from tests.e2e.http_client import ask
from tests.e2e.raw_server import PATIENCE, post, read_answer, running, wait_until
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# The default model is not there before a file is.
SLOW = """
import time, os
from function.engine.model import Model
made = Model.__init__
def slow(self, *arguments):
    while not os.path.exists({path!r}):
        time.sleep(0.01)
    made(self, *arguments)
Model.__init__ = slow
"""


def test_health_is_answered_while_the_model_loads(digits_prepared: Path, tmp_path: Path, picture: bytes) -> None:
    go = tmp_path / "go"
    with running(digits_prepared, SLOW.format(path=str(go)), ready="/health") as server:
        for path in ("/", "/health", "/v2/health/live", "/v2/models/digits", "/metrics"):
            assert ask(server.url, "GET", path).status == 200, path
        for path in ("/ready", "/v2/models/digits/ready"):
            refused = ask(server.url, "GET", path)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "is being loaded" in refused.json["error"]
        told = ask(server.url, "GET", "/v2/health/ready")
        assert (told.status, told.json["live"], told.json["ready"]) == (503, True, False)
        with server.sends(post(picture)) as waiting:
            go.touch()
            assert read_answer(waiting).status == 200
        wait_until(lambda: ask(server.url, "GET", "/ready").status == 200, "the server is ready")
        for path in ("/v2/health/ready", "/v2/models/digits/ready"):
            assert ask(server.url, "GET", path).json["ready"] is True


def test_what_waits_in_the_queue_when_the_signal_comes_is_answered(digits_prepared: Path, picture: bytes) -> None:
    with running(digits_prepared) as server:
        server.process.send_signal(signal.SIGSTOP)
        with server.sends(post(picture)) as waiting:  # the kernel takes it
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGCONT)
            assert read_answer(waiting).status == 200
        assert server.process.wait(PATIENCE) == 0


def test_any_asgi_server_runs_the_app(digits_prepared: Path, picture: bytes) -> None:
    port = processes.free_port()
    env = {**os.environ, "MODEL_REPOSITORY": str(digits_prepared), "MODEL_NAME": "digits"}
    argv = [sys.executable, "-m", "uvicorn", "function.asgi:app", "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(argv, cwd=ROOT, env=env) as process:
        try:
            wait_until(lambda: port in processes.listening_ports(process.pid), "it listens")
            url = f"http://127.0.0.1:{port}"
            assert ask(url, "GET", "/v2/health/ready").json["ready"] is True
            assert ask(url, "POST", "/classify", picture).status == 200
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_a_port_that_is_taken_is_one_line(digits_prepared: Path) -> None:
    with running(digits_prepared) as server:
        done = subprocess.run(
            [sys.executable, "-m", "function.server", "--port", str(server.port)],
            cwd=ROOT,
            env={**os.environ, "MODEL_REPOSITORY": str(digits_prepared), "MODEL_NAME": "digits"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 3
    assert line == f"error: port {server.port} of 127.0.0.1 cannot be had: Address already in use"
