"""Bodies that the server receives straight into one buffer: with what comes before, between and after them."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from bench import servers
from infra import processes
from models import manifest
from tests import support
from tests.e2e.http_client import ask, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.payloads import Payload
    from bench.peers.launch import Server

PATIENCE = 60.0  # seconds
HEALTH = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def server(digits_prepared: Path) -> Iterator[Server]:
    with servers.zeroserve(manifest.read(digits_prepared / "digits")) as running:
        yield running


def head(payload: Payload, *lines: str) -> bytes:
    headers = {**payload.headers, "host": "localhost", "content-length": str(len(payload.body))}
    text = [f"POST {payload.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), *lines, "", ""]
    return "\r\n".join(text).encode()


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, object]]]:
    """Statuses and documents of so many answers that come one after another."""
    answers = []
    with connection.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split()[1])
            length = int(http.client.parse_headers(stream)["content-length"])
            answers.append((status, json.loads(stream.read(length))))
    return answers


def test_a_client_that_waits_for_100_continue(server: Server, payload: Payload) -> None:
    with connect(server.url) as connection:
        connection.sendall(head(payload, "expect: 100-continue"))
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(payload.body)
        ((status, document),) = read_answers(connection, 1)
    assert status == 200
    assert "outputs" in document


@pytest.mark.parametrize("order", ["LHLLH", "HLH", "HHL"], ids="large and health: {}".format)
def test_pipelined_requests_are_answered_in_their_order(server: Server, payload: Payload, order: str) -> None:
    content = b"".join(head(payload) + payload.body if kind == "L" else HEALTH for kind in order)
    with connect(server.url) as connection:
        sender = threading.Thread(target=connection.sendall, args=(content,))
        sender.start()
        answers = read_answers(connection, len(order))
        sender.join()
    assert [status for status, _ in answers] == [200] * len(order)
    assert ["L" if "outputs" in document else "H" for _, document in answers] == list(order)
    large = [document for _, document in answers if "outputs" in document]
    assert large == [large[0]] * len(large)


def test_a_large_body_in_small_pieces(server: Server, payload: Payload) -> None:
    with connect(server.url) as connection:
        content = head(payload) + payload.body
        for start in range(0, len(content), 100_001):
            connection.sendall(content[start : start + 100_001])
            time.sleep(0.001)
        ((status, _),) = read_answers(connection, 1)
    assert status == 200


@pytest.mark.parametrize("form", ["raw", "multipart", "json"])
def test_large_pictures(server: Server, form: str) -> None:
    size, file = (900, 700), io.BytesIO()
    noise = random.Random(5).randbytes(size[0] * size[1] * 3)
    Image.frombytes("RGB", size, noise).save(file, "PNG")
    picture = file.getvalue()
    assert len(picture) > 1.5e6
    body, kind = {
        "raw": (picture, "image/png"),
        "json": (json.dumps({"image": base64.b64encode(picture).decode()}).encode(), "application/json"),
        "multipart": (
            b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
            + picture
            + b"\r\n--edge--\r\n",
            "multipart/form-data; boundary=edge",
        ),
    }[form]
    answer = ask(server.url, "POST", "/classify", body, {"content-type": kind})
    assert answer.status == 200, answer.body
    compressed = ask(server.url, "POST", "/classify", picture, {"content-type": "image/png"})
    assert answer.body == compressed.body


SLOW = """
import sys
from function.server import intake
intake.IDLE_S = 0.5
from function.server.__main__ import main
main()
"""


def test_a_body_that_is_too_slow_or_cut_off_is_refused_in_words(digits_prepared: Path, payload: Payload) -> None:
    port = processes.free_port()
    argv = [sys.executable, "-c", SLOW, "--port", str(port)]
    with subprocess.Popen(
        argv, cwd=support.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    slow = connect(f"http://127.0.0.1:{port}")
                    break
                except ConnectionRefusedError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            with slow:
                slow.sendall(head(payload) + payload.body[:1_500_000])
                ((status, document),) = read_answers(slow, 1)
                assert status == 408
                assert "no byte of the body came for" in str(document["error"])
                assert slow.recv(1) == b""  # what still comes would be taken for a request
            with connect(f"http://127.0.0.1:{port}") as cut:
                cut.sendall(head(payload) + payload.body[:1_500_000])
                cut.shutdown(socket.SHUT_WR)
                assert cut.recv(1) == b""
            with connect(f"http://127.0.0.1:{port}") as next_one:
                next_one.sendall(head(payload) + payload.body)
                assert read_answers(next_one, 1)[0][0] == 200
        finally:
            server.terminate()
            words, _ = server.communicate(timeout=PATIENCE)
    assert "Traceback" not in words
    assert words.count('"status": 408') == words.count('"status": 400') == 1
