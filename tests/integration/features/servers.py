"""PostgreSQL for the tests, and a server on which everything may go wrong."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pg8000.native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_SECONDS = 60.0
STOP_SECONDS = 30.0
INITDB = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _user() -> dict[str, Any]:
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
def certificates() -> Iterator[dict[str, Path]]:
    """An authority, a certificate of it for 127.0.0.1 alone, its key, and an authority that did not sign it."""
    folder = Path(tempfile.mkdtemp(prefix="zeroserve-tls-"))
    names = {name: folder / f"{name}.pem" for name in ("authority", "other", "certificate", "key")}

    def openssl(*arguments: object) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=START_SECONDS)

    try:
        for name in ("authority", "other"):
            openssl("-keyout", folder / f"{name}.key", "-out", names[name], "-subj", f"/CN={name}")
        signed = ["-CA", names["authority"], "-CAkey", folder / "authority.key"]
        only = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        openssl("-keyout", names["key"], "-out", names["certificate"], "-subj", "/CN=server", *signed, *only)
        if user := _user():
            for path in (folder, names["certificate"], names["key"]):
                os.chown(path, user["user"], user["group"])
        yield names
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """A fresh server with these settings, such as "max_connections=4"."""
    assert INITDB is not None
    folder = Path(tempfile.mkdtemp(prefix="zeroserve-postgres-"))
    user, port = _user(), free_port()
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


class Fault:
    """Accepts connections on a free port and lets `behave` do with each what it likes, on a thread of its own."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.connections = 0
        self.done = threading.Event()
        self._behave = behave
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._behave(connection)

    def close(self) -> None:
        self.done.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(STOP_SECONDS)
