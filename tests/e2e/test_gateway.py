"""Upstreams that answer well and badly, behind the server and behind the function as it runs on Lambda."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from infra import processes
from tests.e2e.gateway_entries import CHAT, KEY, Lambda, Server, environment, serving, write_models
from tests.upstream import DONE, JSON, STREAM, TALK, Answer, Seen, Upstream, chunk, completion, upstream, usual

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHOLE = b"".join(TALK)
PATIENCE = 60


@pytest.fixture(scope="module")
def there() -> Iterator[Upstream]:
    with upstream() as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(there: Upstream) -> Iterator[None]:
    there.seen.clear()
    there.gate.clear()
    there.answer = usual
    yield
    there.gate.set()


@pytest.fixture(scope="module")
def repository(there: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("gateway"), there.port, processes.free_port())


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[Server]:
    with serving(repository) as made:
        yield made


@pytest.fixture(scope="module")
def function(repository: Path) -> Iterator[Lambda]:
    with environment():
        yield Lambda(repository)


@pytest.fixture(params=["server", "lambda"])
def entry(request: pytest.FixtureRequest) -> Server | Lambda:
    found: Server | Lambda = request.getfixturevalue({"server": "server", "lambda": "function"}[request.param])
    return found


def asks(model: str, *, stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "say it"}], "stream": stream, **more}


def in_turn(*answers: Answer) -> Any:
    """An answer for each call, the last one for all after it."""
    left = list(answers)
    return lambda _seen: left.pop(0) if len(left) > 1 else left[0]


def the_error_event(body: bytes, before: bytes) -> dict[str, Any]:
    """That of a stream which passed `before` on and then failed."""
    assert body.startswith(before)
    rest = body.removeprefix(before)
    assert rest.startswith(b"data: "), rest
    assert rest.endswith(b"\n\n")
    found: dict[str, Any] = json.loads(rest.removeprefix(b"data: "))["error"]
    return found


def test_the_bytes_are_the_upstreams(entry: Server | Lambda, there: Upstream) -> None:
    streamed = entry.post(asks("chat"))
    assert (streamed.status, streamed.body) == (200, WHOLE)
    assert streamed.headers["content-type"] == STREAM["Content-Type"]
    whole = entry.post(asks("chat", stream=False))
    assert (whole.status, whole.body) == (200, completion("Hello"))
    assert whole.headers["content-type"] == "application/json"
    assert [seen.document["model"] for seen in there.seen] == ["chat-there"] * 2
    assert {seen.path for seen in there.seen} == {CHAT}


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_however_they_are_cut_into_pieces(entry: Server | Lambda, there: Upstream, size: int) -> None:
    pieces = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    there.answer = lambda _seen: Answer(pieces)
    assert entry.post(asks("chat")).body == WHOLE
    there.answer = lambda _seen: Answer(pieces, length=True)
    assert entry.post(asks("chat")).body == WHOLE


def test_an_answer_that_ends_with_the_connection(entry: Server | Lambda, there: Upstream) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    there.answer = lambda _seen: Answer(raw=head + WHOLE)
    assert entry.post(asks("chat")).body == WHOLE
    there.answer = lambda _seen: Answer(raw=head + TALK[0])
    error = the_error_event(entry.post(asks("chat")).body, TALK[0])
    assert error["code"] == "cut"


def test_what_the_caller_sent_is_passed_on(entry: Server | Lambda, there: Upstream) -> None:
    messages = b'[{"role":"user","content":"1\\u00e9\\ud83d\\ude00"}]'
    body = b'{"messages":%b, "model":\n"capped","max_tokens" : 70,"seed":1e2}' % messages
    assert entry.post(body).status == 200
    assert there.seen[-1].body == body.replace(b'"capped"', b'"capped-there"').replace(b": 70", b":5")
    entry.post(asks("capped", max_completion_tokens=3))
    assert there.seen[-1].document["max_completion_tokens"] == 3
    assert "max_tokens" not in there.seen[-1].document
    entry.post(asks("capped"))
    assert there.seen[-1].document["max_tokens"] == 5
    entry.post({"model": "chat", "prompt": "a"}, "/v1/completions")
    assert there.seen[-1].path == "/v1/completions"
    entry.post({"model": "chat", "input": "a"}, "/v1/embeddings")
    assert there.seen[-1].path == "/v1/embeddings"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"[1]", 400, "must be a JSON object"),
        (b"{", 400, "not JSON"),
        (b'{"messages": []}', 400, "needs 'model'"),
        (b'{"model": "chat", "stream": 1}', 400, "'stream' is 1"),
        (b'{"model": "chat", "model": "keyed"}', 400, "'model' twice"),
        (b'{"model": "nobody"}', 404, "there is no model 'nobody'"),
    ],
)
def test_what_is_refused_before_an_upstream_is_asked(
    entry: Server | Lambda, there: Upstream, body: bytes, status: int, words: str
) -> None:
    answer = entry.post(body)
    assert answer.status == status
    assert words in json.loads(answer.body)["error"]
    assert there.seen == []


def test_the_callers_own_mistakes_come_as_the_upstream_tells_them(entry: Server | Lambda, there: Upstream) -> None:
    body = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    there.answer = lambda _seen: Answer([body], 400, dict(JSON) | {"x-request-id": "req-9", "Set-Cookie": "no"})
    answer = entry.post(asks("chat"))
    assert (answer.status, answer.body) == (400, body)
    assert answer.headers["x-request-id"] == "req-9"
    assert "set-cookie" not in answer.headers
    assert len(there.seen) == 1


@pytest.mark.parametrize(
    "bad",
    [
        Answer([b"{}"], 500, JSON),
        Answer([b"{}"], 503, JSON | {"Retry-After": "0"}),
        Answer([b"{}"], 429, JSON | {"Retry-After": "1"}),
        Answer(cut=True),
        Answer(raw=b"HTTP/1.1 200 OK\r\n"),
        Answer([b"data: {"], cut=True),
    ],
    ids=["500", "503", "429", "no token", "half a head", "half an event"],
)
def test_what_may_pass_is_tried_again(entry: Server | Lambda, there: Upstream, bad: Answer) -> None:
    there.answer = in_turn(bad, Answer(list(TALK)))
    assert entry.post(asks("chat")).body == WHOLE
    assert len(there.seen) == 2


def test_what_stays_bad_is_told(entry: Server | Lambda, there: Upstream) -> None:
    there.answer = lambda _seen: Answer([b"{}"], 429, JSON | {"Retry-After": "33"})
    answer = entry.post(asks("chat"))
    assert (answer.status, answer.headers["retry-after"]) == (429, "33")
    assert len(there.seen) == 1  # nobody waits for 33 s
    there.answer = lambda _seen: Answer([b"{}"], 500, JSON | {"Retry-After": "0"})
    answer = entry.post(asks("chat"))
    assert answer.status == 503
    assert "the upstream answered 500" in json.loads(answer.body)["error"]
    assert len(there.seen) == 1 + 3


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP"),
        (Answer([b"<html>"], headers={"Content-Type": "text/html"}), "'text/html', not text/event-stream"),
        (Answer([b"{}"], headers=JSON), "'application/json', not text/event-stream"),
        (Answer([]), "no event came"),
        (
            Answer(
                raw=b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
            ),
            "size",
        ),
        (Answer([b"moved"], 302, {"Location": "http://169.254.169.254/"}), "answered 302"),
    ],
    ids=["no HTTP", "a page", "JSON", "nothing", "chunks", "elsewhere"],
)
def test_what_is_wrong_is_not_tried_again(entry: Server | Lambda, there: Upstream, bad: Answer, words: str) -> None:
    there.answer = lambda _seen: bad
    answer = entry.post(asks("chat"))
    assert answer.status == 503
    assert words in json.loads(answer.body)["error"]
    assert len(there.seen) == 1


def test_nobody_is_there(entry: Server | Lambda, there: Upstream) -> None:
    answer = entry.post(asks("down"))
    assert answer.status == 503
    assert "cannot be reached" in json.loads(answer.body)["error"]
    answer = entry.post(asks("lost"))  # whose fallback is not there
    assert answer.status == 200
    there.answer = lambda _seen: Answer([b"{}"], 500, JSON)
    answer = entry.post(asks("lost"))
    assert answer.status == 503
    assert "fallback 'nowhere'" in json.loads(answer.body)["error"]


def test_a_stall_before_the_first_token(entry: Server | Lambda, there: Upstream) -> None:
    for waits_at in (-1, 0):
        there.answer = lambda _seen, at=waits_at: Answer(list(TALK), waits_at=at)  # type: ignore[misc]
        answer = entry.post(asks("quick"))
        assert answer.status == 504
        assert "no token came within 0.4 s" in json.loads(answer.body)["error"]
        assert there.seen[-1].gone.wait(PATIENCE)


def test_the_fallbacks_turn(entry: Server | Lambda, there: Upstream) -> None:
    def answer(seen: Seen) -> Answer:
        return Answer(list(TALK), waits_at=0 if seen.document["model"] == "careful-there" else None)

    there.answer = answer
    assert entry.post(asks("careful")).body == WHOLE
    assert [seen.document["model"] for seen in there.seen] == ["careful-there", "chat-there"]  # "down" was between


def test_a_stall_in_the_stream(entry: Server | Lambda, there: Upstream) -> None:
    there.answer = lambda _seen: Answer(list(TALK), waits_at=2)
    error = the_error_event(entry.post(asks("careful")).body, b"".join(TALK[:2]))
    assert error["code"] == "between_tokens"
    assert "no further token came within 0.4 s" in error["message"]
    assert there.seen[-1].gone.wait(PATIENCE)
    assert len(there.seen) == 1  # no fallback behind the first token


def test_a_death_in_the_stream_leaves_no_half_event(entry: Server | Lambda, there: Upstream) -> None:
    there.answer = lambda _seen: Answer([*TALK[:2], TALK[2][:20]], cut=True)
    error = the_error_event(entry.post(asks("chat")).body, b"".join(TALK[:2]))
    assert error["code"] == "cut"
    assert len(there.seen) == 1


def test_the_whole_takes_too_long(entry: Server | Lambda, there: Upstream) -> None:
    there.answer = lambda _seen: Answer([chunk(str(n)) for n in range(2000)], pause=0.05)
    body = entry.post(asks("short")).body
    assert json.loads(body.rstrip().rpartition(b"data: ")[2])["error"]["code"] == "whole"
    there.answer = lambda _seen: Answer([completion("a")], headers=dict(JSON), waits_at=-1)
    assert entry.post(asks("short", stream=False)).status == 504
    assert there.seen[-1].gone.wait(PATIENCE)


def test_keys(entry: Server | Lambda, there: Upstream) -> None:
    assert entry.post(asks("keyed")).status == 200
    assert there.seen[-1].headers["authorization"] == f"Bearer {KEY}"
    entry.post(asks("chat"))
    assert "authorization" not in there.seen[-1].headers
    answer = entry.post(asks("keyless"))
    assert answer.status == 503
    assert "GATEWAY_TEST_NOTHING" in json.loads(answer.body)["error"]
    there.answer = lambda _seen: Answer([b'{"error": "Incorrect API key sk-..."}'], 401, dict(JSON))
    answer = entry.post(asks("keyed"))
    assert answer.status == 503
    assert b"sk-" not in answer.body


def test_connections_are_kept_and_replaced_when_closed(entry: Server | Lambda, there: Upstream) -> None:
    entry.post(asks("chat"))
    before = there.connections
    for _ in range(3):
        assert entry.post(asks("chat")).body == WHOLE
    assert there.connections == before
    there.answer = in_turn(Answer(list(TALK), cut=False), Answer(list(TALK)))
    there.drop_idle()
    assert entry.post(asks("chat")).body == WHOLE
    assert there.connections == before + 1


def test_as_many_at_a_time_as_is_said(server: Server, there: Upstream) -> None:
    there.answer = lambda _seen: Answer(list(TALK), waits_at=1)
    with server.raw.connect() as first:
        first.sendall(raw_request(asks("one")))
        read_until(first, TALK[0])
        answer = server.post(asks("one"))
        assert answer.status == 429
        assert "concurrency" in json.loads(answer.body)["error"]
        there.gate.set()
        read_until(first, DONE)
    assert server.post(asks("one")).body == WHOLE


def raw_request(document: object, version: str = "1.1") -> bytes:
    body = json.dumps(document).encode()
    return f"POST {CHAT} HTTP/{version}\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def read_until(connection: Any, end: bytes) -> bytes:
    found = b""
    while end not in found:
        piece = connection.recv(65536)
        assert piece, found
        found += piece
    return found
