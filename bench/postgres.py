"""A PostgreSQL server of one's own on this machine, for benchmarks and tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pg8000.native

from infra import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60.0
STOP_SECONDS = 30.0
INITDB = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


def server_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it is the user postgres, whom Debian's package makes."""
    if os.geteuid():
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Postgres:
    """A server of its own folder; `url` is its database `postgres`."""

    def __init__(self, url: str, port: int) -> None:
        self.url, self.port = url, port

    def connect(self) -> pg8000.native.Connection:
        return pg8000.native.Connection("postgres", host="127.0.0.1", port=self.port, database="postgres", timeout=30)

    def run(self, statement: str, **parameters: Any) -> list[Any]:
        with contextlib.closing(self.connect()) as connection:
            rows: list[Any] = connection.run(statement, **parameters) or []
            return rows


@contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """A fresh server with these settings, such as "max_connections=4"."""
    assert INITDB is not None
    folder = Path(tempfile.mkdtemp(prefix="zeroserve-postgres-"))
    user, port = server_user(), processes.free_port()
    if user:
        os.chown(folder, user["user"], user["group"])
    data = folder / "data"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **user}
    try:
        made = [str(INITDB), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(made, check=True, timeout=START_SECONDS, **quiet)
        options = [
            f"port={port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            *settings,
        ]
        command = [str(INITDB.parent / "postgres"), "-D", str(data)]
        with subprocess.Popen([*command, *(part for each in options for part in ("-c", each))], **quiet) as process:
            try:
                server = Postgres(f"postgresql://postgres@127.0.0.1:{port}/postgres", port)
                _await(server, process)
                yield server
            finally:
                process.send_signal(signal.SIGINT)  # "fast": it does not wait for those who are connected
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, "PostgreSQL ended"
        try:
            server.run("SELECT 1")
        except (OSError, pg8000.exceptions.Error):
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"no answer on port {server.port}")
