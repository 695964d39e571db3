"""The head of a request: its first line, its headers, its Host, and how much of it there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile.case import HOST, MEGABYTE, Case, Step, Then, get, request, sized

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED = (400,)
# Bytes that are no HTTP/1 at all may be answered or just cut off.
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(200))
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def hosts() -> Iterator[Case]:
    """RFC 9112, section 3.2: HTTP/1.1 has one Host."""
    yield Case("no Host", (b"GET /health HTTP/1.1\r\n\r\n",), (REFUSED,), Then.EITHER, words="host")
    yield Case(
        "no Host, with a body", (b"POST /classify HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",), (REFUSED,), Then.EITHER
    )
    yield Case("Host twice", (get("/health", b"Host: other"),), (REFUSED,), Then.EITHER, words="host")
    yield Case("Host twice, the same", (get("/health", b"Host: localhost"),), (REFUSED,), Then.EITHER, words="host")
    # RFC 9112, 3.2: what a client sends that has no authority to name.
    yield Case("an empty Host", (b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",), ({200},), Then.OPEN, words="ok")
    yield Case("a Host with a space", (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",), (REFUSED,), Then.EITHER)
    yield Case("a Host with a path", (b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n",), ({200, 400},), Then.EITHER)
    yield Case("HTTP/1.0 without Host", (b"GET /health HTTP/1.0\r\n\r\n",), ({200},), Then.CLOSED, words="ok")
    yield Case("a Host with a port", (b"GET /health HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",), ({200},), Then.OPEN)


def headers() -> Iterator[Case]:
    """RFC 9112, section 5, and RFC 9110, section 5.5."""
    bad = {
        "NUL in a value": b"X: a\0b",
        "NUL in a name": b"X\0: a",
        "CR in a value": b"X: a\rb",
        "a control character in a value": b"X: a\x01b",
        "DEL in a value": b"X: a\x7fb",
        "no colon": b"nothing",
        "a space before the colon": b"X : a",
        "a space in a name": b"X Y: a",
        "an empty name": b": a",
        "a bracket in a name": b"X(y): a",
        "bytes above ASCII in a name": "Ünicode: a".encode(),
        "a folded line": b"X: a\r\n b",
    }
    for name, line in bad.items():
        yield Case(name, (get("/health", line),), (REFUSED,), Then.CLOSED)
    yield Case(
        "a space before the first header",
        (b"GET /health HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n",),
        (REFUSED,),
        Then.CLOSED,
    )
    yield Case("bytes above ASCII in a value", (get("/health", b"X: \xff\xfe\x80"),), ({200},), Then.OPEN)
    yield Case("a tab in a value", (get("/health", b"X: a\tb"),), ({200},), Then.OPEN)
    yield Case("an empty value", (get("/health", b"X:"),), ({200},), Then.OPEN)
    yield Case("LF alone at line ends", (get().replace(b"\r\n", b"\n"),), ({200, 400},), Then.EITHER)
    yield Case("LF alone after the request line", (get().replace(b"\r\n", b"\n", 1),), ({200, 400},), Then.EITHER)
    yield Case(
        "CR alone at line ends", (get().replace(b"\r\n", b"\r"), Step.HALF_CLOSE), (REFUSED,), Then.CLOSED, silent=True
    )
    yield Case("empty lines before a request", (b"\r\n\r\n" + get(),), ({200},), Then.OPEN)


def sizes() -> Iterator[Case]:
    """A head of 4 KiB passes, one over 64 KiB is refused, and is while it comes: most of these never end."""
    yield Case(
        "a head of 4 kB", (get("/health", *[b"X-%d: %s" % (i, b"y" * 80) for i in range(45)]),), ({200},), Then.OPEN
    )
    yield Case("a target of 4 kB", (get("/health?x=" + "y" * 4000),), ({200},), Then.OPEN)
    yield Case("a value of 4 kB", (get("/health", b"X: " + b"y" * 4000),), ({200},), Then.OPEN)
    yield Case("a request line of 9 kB", (get("/health?x=" + "y" * 9000),), ({414},), Then.CLOSED)
    yield Case("a path of 100 kB", (get("/" + "y" * 100_000),), ({414},), Then.CLOSED)
    yield Case("a target without end", (b"GET /" + b"y" * MEGABYTE,), ({414},), Then.CLOSED)
    pieces = (b"GET /", *(part for _ in range(4) for part in (Step.PAUSE, b"y" * 30_000)))
    yield Case("a target without end, in pieces", pieces, ({414},), Then.CLOSED)
    yield Case("a value of 70 kB", (get("/health", b"X: " + b"y" * 70_000),), ({431},), Then.CLOSED)
    yield Case("a value without end", (get()[:-2] + b"X: " + b"y" * MEGABYTE,), ({431},), Then.CLOSED)
    yield Case("a name without end", (get()[:-2] + b"y" * MEGABYTE,), ({431},), Then.CLOSED)
    yield Case("a value of spaces without end", (get()[:-2] + b"X:" + b" " * MEGABYTE,), ({431, 400},), Then.CLOSED)
    many = [b"X-%d: y" % number for number in range(20_000)]
    yield Case("20,000 headers", (get("/health", *many),), ({431},), Then.CLOSED)
    yield Case("100,000 equal headers", (get("/health", *[b"X-Same: abcdefgh"] * 100_000),), ({431},), Then.CLOSED)
    heavy = [b"X-%d: %s" % (number, b"y" * 2000) for number in range(60)]
    yield Case("headers of 120 kB in all", (get("/health", *heavy),), ({431},), Then.CLOSED)
    yield Case(
        "headers without end",
        (get()[:-2] + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)),),
        ({431},),
        Then.CLOSED,
    )
    yield Case("headers before a body, too many", (sized(*many),), ({431},), Then.CLOSED)
    yield Case("a method of 1 MB", (b"A" * MEGABYTE + get()[3:],), ({400, 405, 414, 501},), Then.CLOSED)
    yield Case(
        "empty lines without end",
        (b"\r\n" * (MEGABYTE // 2), Step.HALF_CLOSE),
        ({400, 414, 431},),
        Then.CLOSED,
        silent=True,
    )


def targets() -> Iterator[Case]:
    """RFC 9112, section 3.2; what a path means is the same as on Lambda."""
    yield Case("absolute form", (request(b"GET", b"http://localhost/health"),), ({200},), Then.OPEN, words="ok")
    yield Case("absolute form with a query", (sized(target=b"http://localhost/classify?top_k=1"),), ({200},), Then.OPEN)
    yield Case("OPTIONS *", (request(b"OPTIONS", b"*"),), ({200, 204, 400, 404, 405},), Then.EITHER)
    yield Case("GET *", (request(b"GET", b"*"),), ({400, 404},), Then.EITHER)
    yield Case("GET of an authority", (request(b"GET", b"localhost:80"),), ({400, 404},), Then.EITHER)
    yield Case("CONNECT", (request(b"CONNECT", b"localhost:80"),), ({400, 404, 405, 501},), Then.EITHER)
    yield Case("no target", (b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",), (REFUSED,), Then.CLOSED)
    yield Case("a target without a slash", (request(b"GET", b"health"),), ({400, 404},), Then.EITHER)
    yield Case("a space in the path", (request(b"GET", b"/a b"),), (REFUSED,), Then.CLOSED)
    yield Case("NUL in the path", (request(b"GET", b"/a\0b"),), (REFUSED,), Then.CLOSED)
    yield Case("a fragment", (request(b"GET", b"/health#top"),), ({200, 400, 404},), Then.EITHER)
    yield Case("UTF-8 as it is in the path", (request(b"GET", "/naïve".encode()),), ({400, 404},), Then.EITHER)
    yield Case("bytes that are no UTF-8 in the path", (request(b"GET", b"/\xff\xfe"),), ({400, 404},), Then.EITHER)
    yield Case("bytes that are no UTF-8 in the query", (request(b"GET", b"/health?x=\xff"),), (REFUSED,), Then.EITHER)
    yield Case("%ff in the path", (get("/a%ff"),), (REFUSED,), Then.OPEN, words="path")
    yield Case("%ff in the query", (get("/health?x=%ff"),), (REFUSED,), Then.OPEN, words="query")
    yield Case("%ff in a name of the query", (get("/health?%ff=x"),), (REFUSED,), Then.OPEN, words="query")
    yield Case("%00 in the path", (get("/health%00"),), ({400, 404},), Then.OPEN)
    yield Case("%00 in a model's name", (get("/v2/models/digits%00"),), ({400, 404},), Then.OPEN)
    yield Case("a line end in a model's name", (get("/v2/models/a%0d%0aX-Bad:%20b"),), ({400, 404},), Then.OPEN)
    yield Case("a lone %", (get("/a%"),), ({400, 404},), Then.OPEN)
    yield Case("a percent sign without hex", (get("/a%zz"),), ({400, 404},), Then.OPEN)
    yield Case("an encoded letter", (get("/%68ealth"),), ({200},), Then.OPEN, words="ok")
    yield Case("an encoded question mark", (get("/health%3Fx=y"),), ({404},), Then.OPEN)
    for path in ("//health", "/health/", "/../health", "/v2/models/..%2f..%2fetc", "/v2/models/%2e%2e", "/v2/models/"):
        yield Case(f"path {path}", (get(path),), ({400, 404},), Then.OPEN)


def versions() -> Iterator[Case]:
    """Methods, versions, and other protocols."""
    for method in (b"get", b"FOO", b"GE T", b"G\0T", b"\xff\xff", b"", b"G(T"):
        head = request(method, b"/health")
        yield Case(f"method {method!r}", (head,), ({400, 405, 501},), Then.EITHER)
    for method in (b"TRACE", b"DELETE", b"PATCH", b"PROPFIND"):
        yield Case(f"method {method.decode()}", (request(method, b"/health"),), ({400, 405, 501},), Then.EITHER)
    yield Case("HTTP/0.9", (b"GET /health\r\n", Step.HALF_CLOSE), ({400, 505},), Then.CLOSED, silent=True)
    yield Case("HTTP/1.2", (get(version=b"HTTP/1.2"),), ({200, 400, 505},), Then.EITHER)
    for version in (
        b"HTTP/2.0",
        b"HTTP/3.0",
        b"HTTP/1.10",
        b"HTTP/11",
        b"HTTP/1",
        b"http/1.1",
        b"ICE/1.0",
        b"HTTP/1.1 x",
    ):
        yield Case(f"version {version.decode()}", (get(version=version),), ({400, 505},), Then.CLOSED)
    yield Case("the preface of HTTP/2", (H2_PREFACE,), ({400, 405, 505},), Then.CLOSED, silent=True)
    yield Case("a ClientHello of TLS", (CLIENT_HELLO,), (REFUSED,), Then.CLOSED, silent=True)
    yield Case("random bytes", (bytes(range(256)) * 4,), (REFUSED,), Then.CLOSED, silent=True)
    yield Case("NUL for a megabyte", (bytes(MEGABYTE),), ({400, 414},), Then.CLOSED, silent=True)
    yield Case("an answer as a request", (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",), (REFUSED,), Then.CLOSED)


HEADS = (*hosts(), *headers(), *sizes(), *targets(), *versions())
