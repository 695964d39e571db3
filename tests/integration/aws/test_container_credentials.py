"""The credentials endpoint as somebody else's: it redirects, stalls, sends too much or nonsense, or is elsewhere."""

from __future__ import annotations

import datetime
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from function.aws import container_credentials
from function.aws.credentials import Credentials
from function.aws.errors import AwsError
from function.aws.s3 import S3
from function.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[socket.socket, threading.Event], None]

TOKEN = "a-secret-token"
HANG = 60.0  # seconds; no step below takes as long


def document(lasts: float = 3600.0, **changes: object) -> bytes:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=lasts)
    found = {"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "T", "Expiration": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps(found | changes).encode()


def reply(content: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def say(*pieces: bytes) -> Answer:
    """Sends the pieces and closes."""

    def answer(connection: socket.socket, _stop: threading.Event) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


class Endpoint:
    """A server on loopback that reads each request and answers it by `answer`."""

    def __init__(self) -> None:
        self.answer: Answer = say(reply(document()))
        self.requests: list[bytes] = []
        self.ended = 0  # connections
        self._stop = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/credentials"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.requests.append(connection.recv(65536))
            self.answer(connection, self._stop)
        self.ended += 1

    def close(self) -> None:
        self._stop.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def credentials(url: str, **variables: str) -> Credentials:
    token = {"AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN}
    return Credentials(Settings({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url} | token | variables))


def refusal(found: Credentials) -> str:
    with pytest.raises(AwsError, match="gave no credentials") as caught:
        found.current()
    assert not caught.value.temporary  # the same once more would take as long once more
    assert TOKEN not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "404 Not Found"])
def test_a_redirect_is_refused_and_the_token_goes_nowhere_else(endpoint: Endpoint, status: str) -> None:
    """Its body, which may be credentials too, is not taken either."""
    elsewhere = Endpoint()
    endpoint.answer = say(reply(document(), status, f"Location: {elsewhere.url}"))
    assert f"status {status[:3]}, 200 is expected" in refusal(credentials(endpoint.url))
    assert len(endpoint.requests) == 1
    assert TOKEN.encode() in endpoint.requests[0]
    assert elsewhere.requests == []
    elsewhere.close()


def silent(_connection: socket.socket, stop: threading.Event) -> None:
    stop.wait(HANG)


def dribbling_head(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not stop.wait(0.05):
        connection.sendall(b"x")


def dribbling_body(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{")
    while not stop.wait(0.05):
        connection.sendall(b" ")


@pytest.mark.parametrize("stall", [silent, dribbling_head, dribbling_body])
def test_a_stall_is_bounded_in_total_for_all_who_wait(
    endpoint: Endpoint, stall: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_credentials, "SECONDS", 0.5)
    endpoint.answer = stall
    found = credentials(endpoint.url)
    with ThreadPoolExecutor(8) as pool:
        started = time.monotonic()
        reasons = set(pool.map(lambda _: refusal(found), range(8)))
    assert time.monotonic() - started < HANG / 2
    assert all("no answer within 0.5 s" in reason or "timed out" in reason for reason in reasons)
    assert len(endpoint.requests) == 1  # the seven who waited share the answer
    until = time.monotonic() + HANG / 2
    while not endpoint.ended and stall is not silent:  # the connection is not left behind
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_stall_fails_the_whole_call_once(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not three times, as a request to AWS itself is tried."""
    monkeypatch.setattr(container_credentials, "SECONDS", 0.3)
    endpoint.answer = silent
    settings = Settings({"AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.url, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(AwsError, match="gave no credentials"):
        S3(settings).get("bucket", "key")
    assert len(endpoint.requests) == 1


def endless(connection: socket.socket, stop: threading.Event) -> None:
    """100 MB, if they are taken."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    for _ in range(1600):
        connection.sendall(b" " * 65536)
    stop.wait(HANG)


def test_a_hundred_megabytes_are_not_read(endpoint: Endpoint) -> None:
    sent: list[str] = []

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        try:
            endless(connection, stop)
        except OSError:
            sent.append("cut off")
            raise

    endpoint.answer = answer
    assert "more than 65536 bytes came" in refusal(credentials(endpoint.url))
    until = time.monotonic() + HANG
    while not sent:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\xff\xfe secret",
        b"[]",
        b"[" * 50_000,
        b"{}",
        document(Token=None),
        document(AccessKeyId=5),
        document(AccessKeyId="AK\r\nX-Forged: 1"),
        document(SecretAccessKey=["SK"]),
        document(Token="T\u0119"),
        document(Expiration="tomorrow"),
        document(Expiration=None),
    ],
    ids=range(13),
)
def test_nonsense_is_no_credentials(endpoint: Endpoint, content: bytes) -> None:
    endpoint.answer = say(reply(content))
    message = refusal(credentials(endpoint.url))
    assert "secret" not in message
    assert message.isprintable()
    assert len(message) < 400


def test_what_is_not_http_is_no_credentials(endpoint: Endpoint) -> None:
    endpoint.answer = say(b"SSH-2.0-OpenSSH\r\n" * 10)
    refusal(credentials(endpoint.url))


def test_a_failure_of_a_moment_is_tried_again(endpoint: Endpoint) -> None:
    answers = [say(), say(reply(b"", "503 Slow Down")), say(reply(document()))]

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        answers.pop(0)(connection, stop)

    endpoint.answer = answer
    assert credentials(endpoint.url).current() == ("AK", "SK", "T")
    assert len(endpoint.requests) == 3


REFUSED = [
    "http://example.com/credentials",
    "http://127.0.0.1.example.com/credentials",
    "http://127.0.0.1@example.com/credentials",
    "http://169.254.169.254/credentials",
    "http://169.254.170.3/credentials",
    "http://10.0.0.1/credentials",
    "http://[fe80::1]/credentials",
    "http:///credentials",
    "ftp://127.0.0.1/credentials",
    "file:///etc/passwd",
    "credentials",
    "http://127.0.0.1:port/credentials",
]


@pytest.mark.parametrize("url", REFUSED)
def test_plain_http_leaves_the_machine_for_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it was connected to"))
    refusal(credentials(url))


@pytest.mark.parametrize("relative", [".example.com/x", "@example.com/x", ":80@example.com/x"])
def test_a_relative_address_cannot_lead_elsewhere(relative: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it was connected to"))
    refusal(credentials("", AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=relative))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://169.254.170.2/v2/credentials", "169.254.170.2"),
        ("http://169.254.170.23/v1/credentials", "169.254.170.23"),
        ("http://[fd00:ec2::23]/v1/credentials", "fd00:ec2::23"),
        ("http://localhost:1234/x", "localhost"),
        ("http://127.9.9.9/x", "127.9.9.9"),
        ("http://[::1]:80/x", "::1"),
        ("https://example.com/x", "example.com"),
    ],
)
def test_where_it_may_be(url: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def connect(address: Any, *_: object, **__: object) -> socket.socket:
        asked.append(address[0])
        raise ConnectionRefusedError("not in this test")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert "not in this test" in refusal(credentials(url))
    assert set(asked) == {host}


def test_a_token_with_a_line_end_is_not_told(endpoint: Endpoint) -> None:
    found = credentials(endpoint.url, AWS_CONTAINER_AUTHORIZATION_TOKEN=f"{TOKEN}\r\nX: y")
    assert "characters that no header may have" in refusal(found)
    assert endpoint.requests == []


# --- clocks


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds added to the wall clock (jumps) and to the monotonic one (time that really passes)."""
    shift = {"wall": 0.0, "monotonic": 0.0}
    wall, monotonic = time.time, time.monotonic
    monkeypatch.setattr("function.aws.credentials.time.time", lambda: wall() + shift["wall"])
    monkeypatch.setattr("function.aws.credentials.time.monotonic", lambda: monotonic() + shift["monotonic"])
    return shift


def test_a_clock_that_is_turned_back_keeps_nothing_beyond_its_end(endpoint: Endpoint, clock: dict[str, float]) -> None:
    found = credentials(endpoint.url)
    found.current()
    clock["wall"] = -86400.0
    found.current()
    assert len(endpoint.requests) == 1
    clock["monotonic"] = 3400.0  # an hour's credentials, and less than five minutes left
    found.current()
    assert len(endpoint.requests) == 2


def test_a_freeze_in_which_the_monotonic_clock_stood_renews(endpoint: Endpoint, clock: dict[str, float]) -> None:
    found = credentials(endpoint.url)
    found.current()
    clock["wall"] = 3400.0
    found.current()
    assert len(endpoint.requests) == 2


def test_what_is_still_good_serves_while_the_endpoint_does_not(endpoint: Endpoint, clock: dict[str, float]) -> None:
    found = credentials(endpoint.url)
    found.current()
    endpoint.answer = say(reply(b"", "404 Not Found"))
    clock["wall"] = clock["monotonic"] = 3400.0
    for _ in range(5):
        assert found.current() == ("AK", "SK", "T")
    assert len(endpoint.requests) == 2  # not asked for each request
    clock["wall"] = clock["monotonic"] = 3440.0
    found.current()
    assert len(endpoint.requests) == 3
    clock["wall"] = clock["monotonic"] = 3700.0  # past their end
    refusal(found)
    endpoint.answer = say(reply(document(90_000)))
    assert found.current() == ("AK", "SK", "T")
