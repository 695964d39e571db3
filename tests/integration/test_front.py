"""The function URL on this machine: HTTP to a toy function in the real emulator, and back."""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from infra import processes, rie
from infra.emulator import AWSLAMBDARIC, Emulator
from infra.front import FunctionUrl
from infra.payload import REQUEST_LIMIT, AnswerError, HttpRequest, decode_answer, encode_event

if TYPE_CHECKING:
    from collections.abc import Iterator

# Echoes the event, or does what the body's JSON says.
TOY = """
import base64, json, os

def handler(event, context):
    order = {}
    if event["rawPath"].startswith("/order"):
        order = json.loads(event["body"])
    if "raise" in order:
        raise ValueError(order["raise"])
    if "exit" in order:
        os._exit(order["exit"])
    if "answer_bytes" in order:
        return {"statusCode": 200, "body": "x" * order["answer_bytes"]}
    if "answer" in order:
        return order["answer"]
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionUrl]:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(TOY)
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=folder) as emulator, FunctionUrl(emulator) as front:
        yield front


@pytest.fixture
def client(front: FunctionUrl) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(front.url).netloc, timeout=20)
    yield connection
    connection.close()


def echo(client: http.client.HTTPConnection, method: str, target: str, body: Any = None, **headers: str) -> Any:
    client.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    assert response.status == 200
    return json.loads(response.read())


def order(client: http.client.HTTPConnection, **what: Any) -> tuple[http.client.HTTPResponse, bytes]:
    client.request("POST", "/order", json.dumps(what), {"Content-Type": "application/json"})
    response = client.getresponse()
    return response, response.read()


def exchange(front: FunctionUrl, *parts: bytes) -> bytes:
    """Send raw bytes on a connection of their own; return all that comes back until the front closes it."""
    url = urlsplit(front.url)
    with socket.create_connection((url.hostname, url.port), 20) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def request(target: str = "/", body: bytes = b"", *headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest("POST", target, "HTTP/1.1", headers, body, "127.0.0.1")


def test_event_of_a_plain_get(client: http.client.HTTPConnection) -> None:
    event = echo(client, "GET", "/", User_Agent="toy/1")
    context = event["requestContext"]
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"]) == ("/", "")
    assert event["routeKey"] == context["routeKey"] == context["stage"] == "$default"
    assert event["isBase64Encoded"] is False
    assert not {"body", "cookies", "queryStringParameters"} & set(event)
    assert event["headers"]["host"] == context["domainName"] == f"{client.host}:{client.port}"
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert context["http"] == {
        "method": "GET",
        "path": "/",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "toy/1",
    }
    assert context["accountId"] == "anonymous"
    assert context["authentication"] is None
    assert uuid.UUID(context["requestId"]).version == 4
    assert abs(context["timeEpoch"] / 1000 - time.time()) < 60
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(context["timeEpoch"] // 1000))
    assert context["time"] == stamp


def test_path_stays_encoded_and_query_is_given_twice(client: http.client.HTTPConnection) -> None:
    event = echo(client, "DELETE", "/a%2Fb/%C3%BC?x=1&x=2%2C3&y=a%20b+c&empty=")
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/a%2Fb/%C3%BC"
    assert event["requestContext"]["http"]["method"] == "DELETE"
    assert event["rawQueryString"] == "x=1&x=2%2C3&y=a%20b+c&empty="
    assert event["queryStringParameters"] == {"x": "1,2,3", "y": "a b c", "empty": ""}


def test_headers_and_cookies(front: FunctionUrl) -> None:
    lines = ["GET / HTTP/1.1", "Host: h", "X-One: a", "x-one:  b ", "Cookie: k=v; l=w", "Cookie: m=x"]
    answer = exchange(front, "\r\n".join([*lines, "Connection: close", "", ""]).encode())
    event = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert event["headers"]["x-one"] == "a,b"
    assert event["cookies"] == ["k=v", "l=w", "m=x"]
    assert event["headers"]["cookie"] == "k=v; l=w; m=x"
    assert "connection" not in event["headers"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/json; charset=utf-8", "Application/XML"])
def test_text_body(client: http.client.HTTPConnection, media_type: str) -> None:
    event = echo(client, "POST", "/", 'größe "☃" \\'.encode(), Content_Type=media_type)
    assert (event["body"], event["isBase64Encoded"]) == ('größe "☃" \\', False)
    assert event["headers"]["content-length"] == "15"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content_Type": "image/jpeg"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "application/json", "Content_Encoding": "gzip"},
    ],
)
def test_other_body_is_base64(client: http.client.HTTPConnection, headers: dict[str, str]) -> None:
    content = bytes(range(256))
    event = echo(client, "PUT", "/", content, **headers)
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"], validate=True) == content


def test_text_that_is_no_utf8_is_base64(client: http.client.HTTPConnection) -> None:
    event = echo(client, "POST", "/", b"caf\xe9", Content_Type="text/plain")
    assert (event["body"], event["isBase64Encoded"]) == (base64.b64encode(b"caf\xe9").decode(), True)


def test_text_with_a_content_encoding_is_base64(client: http.client.HTTPConnection) -> None:
    event = echo(client, "POST", "/", b"text", Content_Type="text/plain", Content_Encoding="br")
    assert (event["body"], event["isBase64Encoded"]) == (base64.b64encode(b"text").decode(), True)


def test_chunked_body_and_the_request_after_it(client: http.client.HTTPConnection) -> None:
    event = echo(client, "POST", "/", iter([b"one ", b"two ", b"x" * 100_000]), Content_Type="text/plain")
    assert event["body"] == "one two " + "x" * 100_000
    assert event["headers"]["content-length"] == "100008"
    assert "transfer-encoding" not in event["headers"]
    assert echo(client, "GET", "/next")["rawPath"] == "/next"


def test_expect_100_continue(front: FunctionUrl) -> None:
    url = urlsplit(front.url)
    with socket.create_connection((url.hostname, url.port), 20) as connection:
        lines = [
            "POST / HTTP/1.1",
            "Host: h",
            "Content-Length: 2",
            "Expect: 100-continue",
            "Connection: close",
        ]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"ok")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == base64.b64encode(b"ok").decode()


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 1_0\r\n\r\n0123456789",
        b"Transfer-Encoding: gzip\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_wrong_framing_is_400(front: FunctionUrl, framing: bytes) -> None:
    answer = exchange(front, b"POST / HTTP/1.1\r\nHost: h\r\n" + framing)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "Bad request" in json.loads(answer.partition(b"\r\n\r\n")[2])["Message"]


def test_answer_with_headers_cookies_and_status(client: http.client.HTTPConnection) -> None:
    headers = {"X-Toy": "é", "X-Number": 5, "Content-Type": "text/html", "Content-Length": "999"}
    answer = {"statusCode": 418, "headers": headers, "cookies": ["a=1; Path=/", "b=2"], "body": "tea ☕"}
    response, body = order(client, answer=answer)
    assert (response.status, body.decode()) == (418, "tea ☕")
    assert (response.headers["x-toy"], response.headers["x-number"]) == ("é", "5")
    assert response.headers.get_all("set-cookie") == ["a=1; Path=/", "b=2"]
    assert response.headers.get_all("content-length") == ["7"]
    assert response.headers["content-type"] == "text/html"


def test_binary_answer(client: http.client.HTTPConnection) -> None:
    content = bytes(range(256))
    body = base64.b64encode(content).decode()
    headers = {"content-type": "application/octet-stream"}
    answer = {"statusCode": 200, "headers": headers, "isBase64Encoded": True, "body": body}
    response, received = order(client, answer=answer)
    assert (response.status, received) == (200, content)


@pytest.mark.parametrize("value", [{"message": "hi"}, "hi", [1, 2], None, {"errorMessage": "mine"}])
def test_answer_without_a_status_is_the_body(client: http.client.HTTPConnection, value: Any) -> None:
    response, body = order(client, answer=value)
    assert (response.status, json.loads(body)) == (200, value)
    assert response.headers["content-type"] == "application/json"


def test_head_and_no_content_have_no_body(client: http.client.HTTPConnection) -> None:
    client.request("HEAD", "/")
    response = client.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert int(response.headers["content-length"]) > 100
    response, body = order(client, answer={"statusCode": 204})
    assert (response.status, body, response.headers["content-length"]) == (204, b"", None)
    assert echo(client, "GET", "/after")["rawPath"] == "/after"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"raise": "no luck"}, "ValueError: no luck"),
        ({"exit": 1}, "Runtime.ExitError"),
        ({"answer_bytes": REQUEST_LIMIT + 100}, "Function.ResponseSizeTooLarge"),
        ({"answer": {"statusCode": 200, "body": {"not": "text"}}}, "body must be a string"),
    ],
)
def test_failure_is_502_and_the_next_request_works(
    client: http.client.HTTPConnection, caplog: pytest.LogCaptureFixture, what: dict[str, Any], reason: str
) -> None:
    response, body = order(client, **what)
    assert (response.status, body) == (502, b"Internal Server Error")
    assert reason in caplog.text
    assert echo(client, "GET", "/next")["rawPath"] == "/next"


@pytest.mark.parametrize(
    ("size", "media_type"),
    [
        (REQUEST_LIMIT - 1000, "application/octet-stream"),  # small enough, but not in base64
        (REQUEST_LIMIT - 10, "text/plain"),
        (REQUEST_LIMIT, "text/plain"),
        (2 * REQUEST_LIMIT, "text/plain"),
    ],
)
def test_too_large_a_request_is_413(client: http.client.HTTPConnection, size: int, media_type: str) -> None:
    client.request("POST", "/", b"x" * size, {"Content-Type": media_type})
    response = client.getresponse()
    message = json.loads(response.read())["Message"]
    assert response.status == 413
    assert re.search(rf"smaller than {REQUEST_LIMIT} bytes.*this one has at least \d+$", message)
    assert echo(client, "GET", "/next")["rawPath"] == "/next"


def test_largest_text_body_arrives_whole(client: http.client.HTTPConnection) -> None:
    body = "x" * (REQUEST_LIMIT - 2000)
    client.request("POST", "/order", json.dumps({"answer": None, "filling": body[20:]}), {"Content-Type": "text/plain"})
    response = client.getresponse()
    assert (response.status, response.read()) == (200, b"null")


def test_fifty_clients_at_once(front: FunctionUrl) -> None:
    def one(number: int) -> Any:
        connection = http.client.HTTPConnection(urlsplit(front.url).netloc, timeout=20)
        try:
            return echo(connection, "POST", f"/{number}", f"body {number}".encode(), Content_Type="text/plain")
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        events = list(pool.map(one, range(50)))
    assert [(event["rawPath"], event["body"]) for event in events] == [(f"/{n}", f"body {n}") for n in range(50)]


def test_end_closes_kept_connections_and_frees_the_port(front: FunctionUrl) -> None:
    with FunctionUrl(front._emulator) as other:
        address = urlsplit(other.url)
        kept = http.client.HTTPConnection(address.netloc, timeout=20)
        assert echo(kept, "GET", "/kept")["rawPath"] == "/kept"
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert kept.sock.recv(1) == b""
    kept.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), 1)
    with FunctionUrl(front._emulator, port=address.port or 0) as again:
        assert again.url == other.url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "infra.front"]
    with subprocess.Popen(command, cwd=rie.ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = urlsplit(process.stdout.readline().strip())
            log = Path(process.stdout.readline().rpartition(" ")[2].strip())
            rie_pid, _guard = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert processes.listening_ports(int(rie_pid))
            assert log.exists()
            socket.create_connection((url.hostname, url.port), 5).close()
            process.send_signal(number)
            process.send_signal(number)
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert not log.exists()
    assert processes.session_members(int(rie_pid)) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((url.hostname, url.port), 1)


def test_command_tells_of_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        command = [sys.executable, "-m", "infra.front", "--port", str(port)]
        done = subprocess.run(command, cwd=rie.ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"plain words", "not JSON"),
        ({"statusCode": "200"}, "integer"),
        ({"statusCode": True}, "integer"),
        ({"statusCode": 101}, "from 200 to 599"),
        ({"statusCode": 200, "headers": []}, None),
        ({"statusCode": 200, "headers": ["a"]}, "headers must be an object"),
        ({"statusCode": 200, "headers": {"x-a": ["1"]}}, "header x-a must be a string"),
        ({"statusCode": 200, "headers": {"x-a": "1\r\nset-cookie: forged=1"}}, "cannot be sent"),
        ({"statusCode": 200, "headers": {"x a": "1"}}, "cannot be sent"),
        ({"statusCode": 200, "headers": {"x-a": "☃"}}, "cannot be sent"),
        ({"statusCode": 200, "cookies": "a=1"}, "cookies must be a list"),
        ({"statusCode": 200, "body": "%%%", "isBase64Encoded": True}, "not base64"),
        ({"statusCode": 200, "body": "\ud800"}, "not Unicode text"),
    ],
)
def test_answers_that_are_no_response(answer: Any, reason: str | None) -> None:
    encoded = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    if reason is None:
        assert decode_answer(encoded).status == 200
    else:
        with pytest.raises(AnswerError, match=reason):
            decode_answer(encoded)


def test_event_of_an_absolute_target_and_an_impossible_one() -> None:
    event = json.loads(encode_event(request("http://host/path?a=b")))
    assert (event["rawPath"], event["rawQueryString"]) == ("/path", "a=b")
    with pytest.raises(ValueError, match="IPv6"):
        encode_event(request("http://[/"))
