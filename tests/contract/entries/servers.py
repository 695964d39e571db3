"""Both entries as processes with an HTTP address. Standard library only: other environments start them too."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infra import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
ENTRIES = ("lambda", "asgi")
SERVER_PATHS = ("/metrics",)  # those that are a 404 on Lambda
ADMIN_KEY = "the key of these tests"
_PATIENCE = 60.0  # seconds for a start on a busy machine


@contextmanager
def serve(entry: str, repository: Path, python: str, **variables: str) -> Iterator[str]:
    """The address HOST:PORT of one of ENTRIES over `repository`, run by the interpreter `python`.

    "lambda" is the function URL's front over the real emulator, "asgi" the HTTP server of `make serve`.
    """
    settings = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "colours", "ADMIN_KEY": ADMIN_KEY, **variables}
    port = processes.free_port()
    module = {"lambda": "infra.front", "asgi": "function.server"}[entry]
    process = subprocess.Popen(
        [python, "-m", module, "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}; its words are above"
        # Its own socket, not a stranger's who took the port first.
        if port in processes.listening_ports(process.pid):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
            connection.request("GET", "/v2/health/ready")
            assert connection.getresponse().status == 200
            connection.close()
            return
        time.sleep(0.02)
    raise AssertionError(f"the server did not listen within {_PATIENCE} s")
