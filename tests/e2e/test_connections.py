"""Connections and heads byte by byte: what is bounded, what is ignored, how a refusal looks."""

from __future__ import annotations

import json
import resource
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.http_client import ask
from tests.e2e.raw_server import RawServer, check_refusal, post, read_answer, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


@pytest.fixture(scope="module")
def server(digits_prepared: Path) -> Iterator[RawServer]:
    with running(digits_prepared) as server:
        yield server


def chunked(body: bytes, *lines: str) -> bytes:
    head = ["POST /classify HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", *lines, "", ""]
    return "\r\n".join(head).encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


ENDLESS = {
    "headers": (b"X-Y: " + b"y" * 1000 + b"\r\n", 431),
    "one value": (b"X-Y: " + b"y" * 1000, 431),
    "a name": (b"y" * 1000, 431),
    "many small": (b"a: b\r\n" * 200, 431),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_head_without_end_is_refused_while_it_comes(server: RawServer, kind: str) -> None:
    piece, status = ENDLESS[kind]
    before = server.resident_mb()
    with server.sends(GET) as connection, suppress(ConnectionError):  # the answer may be lost to a reset
        connection.sendall(piece)
        following = (piece if b"\r\n" in piece else b"y" * 1000) * 100
        for _ in range(100):
            connection.sendall(following)
        check_refusal(read_answer(connection), status, "headers of")
        while True:  # what still comes is not kept, and in the end not taken
            connection.sendall(following)
            assert server.resident_mb() < before + 32
    assert server.resident_mb() < before + 32
    assert ask(server.url, "GET", "/health").status == 200


@pytest.mark.parametrize(
    ("head", "status", "words"),
    [
        (b"GET /?" + b"y" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "8192"),
        (b"GET /" + b"y" * 40_000, 414, "8192"),
        (GET + b"X: " + b"y" * 9_000 + b"\r\n\r\n", 431, "headers of"),
        (GET + b"".join(b"X-%d: y\r\n" % number for number in range(100)) + b"\r\n", 431, "at most 100 headers"),
        (GET + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 7_000) for number in range(5)) + b"\r\n", 431, "32768"),
        (b"nonsense\r\n\r\n", 400, "this is not HTTP/1.1"),
        (b"GET /health HTTP/3.7\r\nHost: x\r\n\r\n", 505, "HTTP"),
        (b"GET /health HTTP/1.1\r\n\r\n", 400, "one Host header"),
        (GET + b"Host: other\r\n\r\n", 400, "one Host header"),
        (b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "chunked alone"),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "proxy"),
        (b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "HTTP/1.1"),
    ],
)
def test_what_cannot_be_read_is_refused_as_json(server: RawServer, head: bytes, status: int, words: str) -> None:
    with server.sends(head) as connection:
        check_refusal(read_answer(connection), status, words)
        assert connection.recv(1) == b""


def test_a_refusal_comes_after_the_answers_before_it(server: RawServer, picture: bytes) -> None:
    with server.sends(post(picture) + b"nonsense\r\n\r\n") as connection:
        assert read_answer(connection).status == 200
        check_refusal(read_answer(connection), 400)


@pytest.mark.parametrize(
    ("target", "words"),
    [("/x%ff", "the path '/x%ff' is not"), ("/health?x=%ff", "is not percent-encoded UTF-8")],
)
def test_escapes_that_are_no_utf8(server: RawServer, target: str, words: str) -> None:
    answer = ask(server.url, "GET", target)
    assert answer.status == 400
    assert words in json.loads(answer.body)["error"]


def test_an_empty_host_and_an_escaped_path_are_taken(server: RawServer) -> None:
    with server.sends(b"GET /he%61lth?x=%C3%A9 HTTP/1.1\r\nHost:\r\n\r\n") as connection:
        assert read_answer(connection).status == 200


@pytest.mark.parametrize("pieces", [1, 5])
@pytest.mark.parametrize("form", ["length", "chunks", "large"])
def test_an_upgrade_is_ignored_and_the_body_is_not(server: RawServer, picture: bytes, form: str, pieces: int) -> None:
    padding = b'{"inputs": [[1, 2, 3]]}' + b" " * 1_500_000
    sent, status = {
        "length": (post(picture, *H2C), 200),
        "chunks": (chunked(picture, *H2C), 200),
        "large": (post(padding, *H2C, path="/v1/models/digits/infer"), 400),
    }[form]
    with server.connect() as connection:
        for _ in range(2):  # the connection serves the next request as well
            step = len(sent) // pieces + 1
            for start in range(0, len(sent), step):
                connection.sendall(sent[start : start + step])
            answer = read_answer(connection)
            assert answer.status == status, answer.body
            assert status == 200 or b"[1, 3]" in answer.body
        connection.sendall(GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + GET + b"\r\n")
        assert [read_answer(connection).status for _ in range(2)] == [200, 200]


def test_a_client_that_has_said_all_is_answered(server: RawServer, picture: bytes) -> None:
    large = post(b'{"inputs": [[1, 2, 3]]}' + b" " * 1_500_000, path="/v1/models/digits/infer")
    for sent, statuses in ((post(picture), [200]), (large, [400]), (post(picture) + GET + b"\r\n", [200, 200])):
        with server.sends(sent) as connection:
            connection.shutdown(socket.SHUT_WR)
            for status in statuses:
                assert read_answer(connection).status == status
            assert connection.recv(1) == b""
    for cut in (post(picture)[:-10], large[:-10], GET):
        with server.sends(cut) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""


def test_heads_have_a_time(digits_prepared: Path) -> None:
    shortened = "from function.server import conversation, protocol\nconversation.HEAD_S = protocol.HEAD_S = 0.5"
    with running(digits_prepared, shortened) as server:
        with server.sends(GET) as connection:
            check_refusal(read_answer(connection), 408, "the head of the request")
        with server.sends(GET + b"\r\n" + GET) as connection:
            assert read_answer(connection).status == 200
            check_refusal(read_answer(connection), 408, "the head of the request")
        with server.connect() as connection:
            assert connection.recv(1) == b""
        assert server.refused("slow") == 2


def test_an_answer_that_nobody_reads_is_given_up(digits_prepared: Path) -> None:
    shortened = "from function.server import conversation\nconversation.HEAD_S = conversation.KEEP_ALIVE_S = 0.5"
    with running(digits_prepared, shortened) as server, server.connect() as connection:
        connection.settimeout(0.2)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
        with suppress(OSError):  # until nothing more is taken, or the server has had enough
            while True:
                connection.sendall(asked)
        wait_until(lambda: connections_of(server) == 1, "the connection is given up")


def connections_of(server: RawServer) -> int:
    """Established ones, that of this very question included, by the kernel's table."""
    ask(server.url, "GET", "/health")
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f":{server.port:04X}"
    return 1 + sum(row[1].endswith(local) and row[3] == "01" for row in rows)


def test_half_open_heads_do_not_use_up_the_descriptors(digits_prepared: Path, picture: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this machine allows too few descriptors for the clients")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    held: list[socket.socket] = []
    try:
        with running(digits_prepared, files=1024) as server:
            held.extend(server.sends(GET) for _ in range(1_100))
            assert [ask(server.url, "GET", "/health").status for _ in range(5)] == [200] * 5
            assert ask(server.url, "POST", "/classify", picture).status == 200
            assert server.refused("connections") >= 100
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_in_use_is_not_closed_for_another(digits_prepared: Path, picture: bytes) -> None:
    with running(digits_prepared, files=256) as server:
        with server.sends(post(picture)[:-1]) as busy:
            idle = [server.sends(GET) for _ in range(200)]
            busy.sendall(picture[-1:])
            assert read_answer(busy).status == 200
        for connection in idle:
            connection.close()
