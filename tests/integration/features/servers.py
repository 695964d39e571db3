"""Certificates for the stores, and a server on which everything may go wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.postgres import START_SECONDS, STOP_SECONDS, server_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
        if user := server_user():
            for path in (folder, names["certificate"], names["key"]):
                os.chown(path, user["user"], user["group"])
        yield names
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
