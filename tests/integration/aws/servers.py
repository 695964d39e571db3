"""Real servers for the tests: moto's AWS over HTTP, Redis or Valkey, and a proxy that misbehaves on purpose."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from infra import venvs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_SECONDS = 30.0
VALKEY = shutil.which("valkey-server") or shutil.which("redis-server")


@contextmanager
def moto_server() -> Iterator[str]:
    """moto's server in a process of its own; gives its URL."""
    command = [str(venvs.ensure("ops")), "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    break
            else:
                raise AssertionError(f"moto's server ended with {process.wait()}")
            # Each request is a line of its log, and a full pipe would stop it.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield found[0]
        finally:
            process.terminate()


class Valkey:
    """A Redis or Valkey server that can be stopped and started again on the same port."""

    def __init__(self, folder: str, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", folder, "--save", ""]
        self._command = [str(VALKEY), *where, *arguments]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, f"the server ended; another may have taken port {self.port}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise AssertionError(f"no answer on port {self.port}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Proxy:
    """Passes requests on to another server; counts them by (method, path), and lets `misbehave` come between.

    `misbehave(method, path, body)` gets the answer's body and returns what is sent in its place: other bytes, or an
    iterator of pieces sent one by one.
    """

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.seen: list[tuple[str, str]] = []
        self.statuses: list[int] = []  # of the next answers, where not the server's own
        self._connections: list[socket.socket] = []
        self.misbehave: Callable[[str, str, bytes], Any] = lambda _method, _path, body: body
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                proxy._connections.append(self.connection)

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                proxy.seen.append((self.command, self.path))
                with closing(http.client.HTTPConnection(proxy.target, timeout=30)) as connection:
                    connection.request(self.command, self.path, body, dict(self.headers.items()))
                    response = connection.getresponse()
                    content = response.read()
                sent = proxy.misbehave(self.command, self.path, content)
                pieces = [sent] if isinstance(sent, bytes) else sent
                length = len(sent) if isinstance(sent, bytes) else len(content)
                self.send_response_only(proxy.statuses.pop(0) if proxy.statuses else response.status)
                for name, value in response.getheaders():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", str(length))
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(piece)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # a client that goes away is part of these tests

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close_connections(self) -> None:
        """As a server does after a pause."""
        for connection in self._connections:
            connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
