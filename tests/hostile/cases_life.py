"""The life of a connection: 100-continue, upgrades, pipelines, half-closing, keep-alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile.case import MAX_BODY, PNG, Case, Step, Then, chunk, chunked, get, post, request, sized

if TYPE_CHECKING:
    from collections.abc import Iterator

H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
CONTINUE = b"Expect: 100-continue"
NOT_FOUND = get("/nothing")


def expectations() -> Iterator[Case]:
    """RFC 9110, section 10.1.1."""
    head = post(b"Content-Length: %d" % len(PNG), CONTINUE, body=b"")
    yield Case("100-continue", (head, Step.READ, PNG), ({100}, {200}), Then.OPEN, words="predictions")
    head = post(b"Transfer-Encoding: chunked", CONTINUE, body=b"")
    yield Case(
        "100-continue, chunked",
        (head, Step.READ, chunk(PNG) + b"0\r\n\r\n"),
        ({100}, {200}),
        Then.OPEN,
        words="predictions",
    )
    large = b'{"inputs": [[1, 2, 3]]}' + b" " * 1_200_000
    head = post(b"Content-Length: %d" % len(large), CONTINUE, body=b"", target=b"/v1/models/digits/infer")
    yield Case("100-continue, a large body", (head, Step.READ, large), ({100}, {400}), Then.OPEN, words="[1, 3]")
    head = post(b"Content-Length: %d" % (MAX_BODY + 1), CONTINUE, body=b"")
    yield Case("100-continue, too large", (head,), ({413},), Then.CLOSED)
    yield Case("another expectation", (sized(b"Expect: the-unexpected"),), ({200, 417},), Then.EITHER)
    yield Case("100-continue without a body", (get("/health", CONTINUE),), ({200},), Then.OPEN, words="ok")


def upgrades() -> Iterator[Case]:
    """RFC 9110, section 7.8: an upgrade may be ignored, and is; the body is part of the request all the same."""
    yield Case("h2c and a GET", (get("/health", *H2C),), ({200},), Then.EITHER, words="ok")
    yield Case("h2c and a length", (sized(*H2C),), ({200},), Then.EITHER, words="predictions")
    yield Case("h2c and chunks", (chunked(*H2C),), ({200},), Then.EITHER, words="predictions")
    whole = sized(*H2C)
    split = len(whole) - len(PNG)
    pieces = (whole[:split], Step.PAUSE, whole[split : split + 50], Step.PAUSE, whole[split + 50 :])
    yield Case("h2c in pieces", pieces, ({200},), Then.EITHER, words="predictions")
    large = b'{"inputs": [[1, 2, 3]]}' + b" " * 1_200_000
    yield Case(
        "h2c and a large body",
        (sized(*H2C, body=large, target=b"/v1/models/digits/infer"),),
        ({400},),
        Then.EITHER,
        words="[1, 3]",
    )
    yield Case("WebSocket", (get("/health", *WEBSOCKET),), ({200, 400, 426, 501},), Then.EITHER)
    yield Case("WebSocket and a body", (sized(*WEBSOCKET),), ({200, 400, 426, 501},), Then.EITHER)
    yield Case(
        "an unknown upgrade",
        (sized(b"Connection: Upgrade", b"Upgrade: something/1"),),
        ({200},),
        Then.EITHER,
        words="predictions",
    )
    yield Case("Upgrade without Connection", (sized(b"Upgrade: h2c"),), ({200},), Then.OPEN, words="predictions")


def pipelines() -> Iterator[Case]:
    """Requests that do not wait for answers get these in their order, and none of another's."""
    yield Case("two requests at once", (get() + get("/v2"),), ({200}, {200}), Then.OPEN, words="extensions")
    yield Case("a body, then another request", (sized() + get(),), ({200}, {200}), Then.OPEN, words="ok")
    yield Case("chunks, then another request", (chunked() + get(),), ({200}, {200}), Then.OPEN, words="ok")
    mixed = [
        (get(), {200}),
        (NOT_FOUND, {404}),
        (sized(body=b"x"), {400, 415}),
        (request(b"DELETE", b"/health"), {405}),
        (sized(), {200}),
    ]
    yield Case(
        "50 requests at once",
        (b"".join(sent for sent, _ in mixed * 10),),
        tuple(want for _, want in mixed * 10),
        Then.OPEN,
    )
    one_by_one = tuple((get() + sized())[i : i + 1] for i in range(len(get() + sized())))
    yield Case("two requests byte after byte", one_by_one, ({200}, {200}), Then.OPEN, words="predictions")
    yield Case("a good one, then a bad length", (get() + post(b"Content-Length: -1"),), ({200}, {400}), Then.CLOSED)
    yield Case("a good one, then garbage", (get() + b"\x01\x02\x03\r\n\r\n",), ({200}, {400}), Then.CLOSED)
    yield Case("a slow one, then garbage", (sized() + b"\x01\x02\x03\r\n\r\n",), ({200}, {400}), Then.CLOSED)
    yield Case(
        "nothing after close", (get("/health", b"Connection: close") + get("/v2"),), ({200},), Then.CLOSED, words="ok"
    )
    three = get() + get("/v2/models/digits") + get("/nothing")
    yield Case(
        "three requests cut in the middle", (three[:70], Step.PAUSE, three[70:]), ({200}, {200}, {404}), Then.OPEN
    )
    yield Case("1,000 requests at once", (get() * 1000,), ({200},) * 1000, Then.OPEN, words="ok")


def half_closed() -> Iterator[Case]:
    """What was asked before a half-close is answered; what can never become whole is given up at once."""
    half = Step.HALF_CLOSE
    yield Case("half-close after a GET", (get(), half), ({200},), Then.CLOSED, words="ok")
    yield Case("half-close after a body", (sized(), half), ({200},), Then.CLOSED, words="predictions")
    yield Case("half-close after chunks", (chunked(), half), ({200},), Then.CLOSED, words="predictions")
    old = request(b"POST", b"/classify", b"Content-Length: %d" % len(PNG), body=PNG, version=b"HTTP/1.0")
    yield Case("half-close in HTTP/1.0", (old, half), ({200},), Then.CLOSED, words="predictions")
    large = sized(body=b'{"inputs": [[1, 2, 3]]}' + b" " * 1_200_000, target=b"/v1/models/digits/infer")
    yield Case("half-close after a large body", (large, half), ({400},), Then.CLOSED, words="[1, 3]")
    yield Case("half-close after two requests", (sized() + get(), half), ({200}, {200}), Then.CLOSED, words="ok")
    yield Case("half-close a moment later", (sized(), Step.PAUSE, half), ({200},), Then.CLOSED, words="predictions")
    yield Case("half-close in a body", (sized()[:-10], half), ({400},), Then.CLOSED, silent=True)
    yield Case("half-close in a large body", (large[:-10], half), ({400},), Then.CLOSED, silent=True)
    yield Case("half-close in chunks", (chunked()[:-5], half), ({400},), Then.CLOSED, silent=True)
    yield Case("half-close in a head", (get()[:-2], half), ({400},), Then.CLOSED, silent=True)
    yield Case("half-close in the second request", (get() + get()[:-2], half), ({200}, {400}), Then.CLOSED, silent=True)
    yield Case("half-close of nothing", (half,), ({400},), Then.CLOSED, silent=True)


def kept_alive() -> Iterator[Case]:
    """RFC 9112, section 9.3."""
    yield Case("GET", (get(),), ({200},), Then.OPEN, words="ok")
    yield Case(
        "GET with a body",
        (request(b"GET", b"/health", b"Content-Length: 5", body=b"abcde"),),
        ({200},),
        Then.OPEN,
        words="ok",
    )
    yield Case(
        "GET with chunks",
        (request(b"GET", b"/health", b"Transfer-Encoding: chunked", body=chunk(b"abc") + b"0\r\n\r\n"),),
        ({200},),
        Then.OPEN,
    )
    unfinished = request(b"GET", b"/health", b"Content-Length: 5", body=b"")
    yield Case(
        "GET whose body comes later",
        (unfinished, Step.PAUSE, b"abcde" + get("/v2")),
        ({200},),  # answered before its body has come, with Connection: close
        Then.CLOSED,
        words="ok",
    )
    yield Case("HEAD", (request(b"HEAD", b"/health"),), ({200},), Then.OPEN, head_only=True)
    yield Case("HEAD of nothing", (request(b"HEAD", b"/nothing"),), ({404},), Then.OPEN, head_only=True)
    yield Case(
        "DELETE with a body",
        (request(b"DELETE", b"/health", b"Content-Length: 5", body=b"abcde"),),
        ({405},),
        Then.OPEN,
    )
    yield Case("Connection: close", (get("/health", b"Connection: close"),), ({200},), Then.CLOSED, words="ok")
    yield Case("Connection: CLOSE", (get("/health", b"Connection: CLOSE"),), ({200},), Then.CLOSED)
    yield Case(
        "Connection: keep-alive, close", (get("/health", b"Connection: keep-alive, close"),), ({200},), Then.CLOSED
    )
    yield Case("HTTP/1.0", (get(version=b"HTTP/1.0"),), ({200},), Then.CLOSED, words="ok")
    yield Case(
        "HTTP/1.0 with keep-alive",
        (get("/health", b"Connection: keep-alive", version=b"HTTP/1.0"),),
        ({200},),
        Then.EITHER,
    )
    yield Case("a 404 with an unread body", (sized(target=b"/nothing"),), ({404},), Then.OPEN)
    yield Case(
        "an error leaves the connection",
        (sized(body=b"x") + sized(),),
        ({400, 415}, {200}),
        Then.OPEN,
        words="predictions",
    )


LIFE = (*expectations(), *upgrades(), *pipelines(), *half_closed(), *kept_alive())
