"""The two entries under one question: the handler behind its pipe, and the server behind a kept connection."""

from __future__ import annotations

import base64
import json
import os
import selectors
import struct
import subprocess
import sys
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from tests.answer import Answer
from tests.hostile import server_process
from tests.hostile.mutate import as_json
from tests.hostile.raw_http import ClosedError, Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.hostile.seeds import Sent
    from tests.hostile.server_process import Usage

DOMAIN = "abcdefgh.lambda-url.us-east-1.on.aws"
SECONDS = 60.0  # no answer after so long: the process hangs


class RaisedError(AssertionError):
    """The handler raised instead of answering; `name` is the class of the exception."""

    def __init__(self, name: str, trace: str) -> None:
        super().__init__(trace)
        self.name = name


def function_url_event(sent: Sent) -> dict[str, Any]:
    """The event of a function URL (payload 2.0) for this request; a body that is not UTF-8 travels as base64."""
    path, _, query = sent.target.partition("?")
    try:
        text, encoded = sent.body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(sent.body).decode(), True
    http = {"method": sent.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "x"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": DOMAIN, **sent.headers},
        "requestContext": {"domainName": DOMAIN, "stage": "$default", "http": http},
        "body": text or None,
        "isBase64Encoded": encoded,
    }


class LambdaEntry:
    """The handler's process."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.lambda_child"],
            cwd=server_process.ROOT,
            env=server_process.environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._in, self._out = self.process.stdin, self.process.stdout
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._out, selectors.EVENT_READ)

    def send(self, event: object) -> None:
        data = as_json(event)
        with suppress(BrokenPipeError):  # `receive` tells that the process has ended
            self._in.write(struct.pack("<I", len(data)) + data)
            self._in.flush()

    def receive(self) -> Any:
        """What the handler returned, bytes for a direct invoke; RaisedError when it raised instead.

        AssertionError when it hangs or has died.
        """
        assert self._ready.select(SECONDS), f"the handler has not answered within {SECONDS} s"
        head = self._out.read(4)
        assert len(head) == 4, f"the handler's process has ended with {self.process.wait(SECONDS)}"
        answer = json.loads(self._out.read(struct.unpack("<I", head)[0]))
        if "raised" in answer:
            raise RaisedError(answer["raised"], answer["trace"])
        return answer["bytes"].encode("latin-1") if "bytes" in answer else answer["result"]

    def usage(self) -> Usage:
        return server_process.usage(self.process.pid)

    def close(self) -> None:
        self._ready.close()
        self._in.close()
        self.process.wait(SECONDS)
        self._out.close()


def lambda_answer(result: Any) -> Answer:
    """An HTTP answer out of what the handler returned; AssertionError where its form is not Lambda's."""
    assert isinstance(result, dict), f"an HTTP event is answered by {type(result).__name__}"
    assert isinstance(result.get("statusCode"), int), f"no statusCode: {str(result)[:200]}"
    body = result["body"]
    content = base64.b64decode(body, validate=True) if result.get("isBase64Encoded") else body.encode()
    headers = result.get("headers") or {name: values[-1] for name, values in result["multiValueHeaders"].items()}
    return Answer(result["statusCode"], {name.lower(): value for name, value in headers.items()}, content)


class HttpEntry:
    """The server, by a connection that is kept as long as it can be."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection: Connection | None = None
        self._reused = self._head_only = False
        self._sent = b""

    def send(self, sent: Sent) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items()).encode("latin-1")
        head = f"{sent.method} {sent.target} HTTP/1.1\r\nhost: localhost\r\n".encode() + lines
        length = f"content-length: {len(sent.body)}\r\n".encode() if sent.body or sent.method == "POST" else b""
        self._sent = head + length + b"\r\n" + sent.body
        self._head_only = sent.method == "HEAD"
        self._reused = self._connection is not None
        self._send()

    def _send(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.port, SECONDS)
        self._connection.send(self._sent)
        return self._connection

    def receive(self) -> Answer:
        """The answer; ClosedError when the server ended the connection without one."""
        assert self._connection
        try:
            try:
                answer = self._connection.answer(head_only=self._head_only)
            except ClosedError:
                if not self._reused:
                    raise
                self.close()  # a server may close an idle connection just when the next request comes
                answer = self._send().answer(head_only=self._head_only)
        except ClosedError:
            self.close()
            raise
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None


class _NoSuchKey(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = b"<Error><Code>NoSuchKey</Code><Message>nothing is stored here</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def empty_s3() -> Iterator[str]:
    """The address of an S3 that has no object, so that records are tried and fail fast."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoSuchKey) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def settings_of_both(s3: str, *, cache: bool) -> dict[str, str]:
    """What both entries get beside the model: an admin key, keys for the S3 at `s3`, a result cache or none."""
    from tests.hostile.seeds import ADMIN_KEY

    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    dropped = {name: "" for name in os.environ if name.startswith("AWS_")}
    return {
        **dropped,
        **keys,
        "ADMIN_KEY": ADMIN_KEY,
        "AWS_ENDPOINT_URL": s3,
        "RESULT_CACHE_BYTES": "1000000" if cache else "0",
    }
