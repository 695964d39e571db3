"""A function URL on this machine: `python -m infra.front` serves the function in the emulator over HTTP."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from function.settings import VARIABLES
from infra.emulator import Emulator, EmulatorError
from infra.http_body import read_pieces
from infra.payload import REQUEST_LIMIT, AnswerError, HttpRequest, HttpResponse, decode_answer, encode_event
from infra.rie import RieError

if TYPE_CHECKING:
    from types import TracebackType

_log = logging.getLogger(__name__)

# A body that is too large is read up to here and thrown away, so that its sender gets to see the answer;
# past that the connection is cut.
_DRAIN_LIMIT = 64 * 1024 * 1024


class FunctionUrl:
    """A running emulator behind an HTTP address, from `with` to the end of its block.

    Any number of clients may connect; their requests reach the emulator one by one.
    `port` 0 takes a free one. Entering the block raises OSError when the port is taken.
    """

    def __init__(self, emulator: Emulator, port: int = 0) -> None:
        self._emulator = emulator
        self._port = port

    def __enter__(self) -> Self:
        self._server = _Server(self._emulator, self._port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address without a slash at its end: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_port}"


class _Server(ThreadingHTTPServer):
    # server_close joins the handlers' threads, so that none outlives the block.
    daemon_threads = False
    # With the standard library's 5, the sixth of many simultaneous clients waits a second.
    request_queue_size = 128

    def __init__(self, emulator: Emulator, port: int) -> None:
        self.emulator = emulator
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Take no further request: an idle kept connection ends now, a busy one after its answer."""
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RD)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away, or stops reading, is no fault of ours.
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _RefusedError(Exception):
    """The front answers by itself, in the words and form of Lambda's Invoke API."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        # Part of the body may be unread, so the connection cannot be used again.
        headers = [
            ("content-type", "application/json"),
            ("x-amzn-errortype", error_type),
            ("connection", "close"),
        ]
        self.response = HttpResponse(status, headers, json.dumps({"Message": message}).encode())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60  # seconds for each read and write, and between two requests of a kept connection

    def _handle(self) -> None:
        try:
            response = self._respond()
        except _RefusedError as refused:
            response = refused.response
        except AnswerError as error:
            # A function URL tells the client no more than this; the reason goes to the log.
            _log.warning("%s %s: %s", self.command, self.path, error)
            response = HttpResponse(502, [("content-type", "text/plain")], b"Internal Server Error")
        self._send(response)

    # The methods of function URLs; the standard library answers 501 to others.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815

    def _respond(self) -> HttpResponse:
        try:
            body = self._read_body()
            request = HttpRequest(
                method=self.command,
                target=self.path,
                protocol=self.request_version,
                headers=self.headers.items(),
                body=body,
                source_ip=self.client_address[0],
            )
            event = encode_event(request)
        except ValueError as error:
            raise _RefusedError(400, "InvalidRequestContentException", f"Bad request: {error}") from error
        _check_size(len(event))
        try:
            return decode_answer(self.server.emulator.invoke(event))
        except EmulatorError as error:
            raise AnswerError(str(error)) from error

    def _read_body(self) -> bytes:
        body, size = bytearray(), 0
        for piece in read_pieces(self.headers, self.rfile):
            size += len(piece)
            if size < REQUEST_LIMIT:
                body += piece
            elif size > _DRAIN_LIMIT:
                break
        _check_size(size)
        return bytes(body)

    def _send(self, response: HttpResponse) -> None:
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        self.send_response_only(response.status)
        self.send_header("date", self.date_time_string())
        for name, value in response.headers:
            self.send_header(name, value)
        # The length that a GET would have is known only when the function built its body for HEAD too.
        if response.body or not bodiless:
            self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        if not bodiless:
            self.wfile.write(response.body)

    def log_message(self, template: str, *args: Any) -> None:
        _log.debug(template, *args)


def _check_size(size: int) -> None:
    if size >= REQUEST_LIMIT:
        message = f"Request must be smaller than {REQUEST_LIMIT} bytes for the InvokeFunction operation"
        raise _RefusedError(413, "RequestEntityTooLargeException", f"{message}, this one has at least {size}")


def main() -> int:
    """Serve the project's function, with this process's settings, until Ctrl-C; prints the address first."""
    parser = argparse.ArgumentParser(prog="python -m infra.front", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1 (default: a free one)")
    port = parser.parse_args().port
    settings = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    # Not KeyboardInterrupt, which may break off the cleaning up; not an Event, whose lock its wait may hold just then.
    signals: list[int] = []
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _frame: signals.append(number))
    try:
        with (
            tempfile.NamedTemporaryFile(prefix="zeroserve-", suffix=".log") as log,
            Emulator(env=settings, log=Path(log.name)) as emulator,
            FunctionUrl(emulator, port) as front,
        ):
            print(front.url)
            print(f"log of the emulator and the function: {log.name}", flush=True)
            # A signal that comes just before an unbounded wait would not end it.
            while not signals:
                time.sleep(0.1)
    except (RieError, EmulatorError) as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: port {port}: {error}. Take another one, or leave --port out", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
