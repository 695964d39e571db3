"""Where a body ends: Content-Length, Transfer-Encoding, chunks, and bodies that are longer or shorter than declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile.case import MAX_BODY, MEGABYTE, PNG, Case, Step, Then, chunk, chunked, get, post, request, sized

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT = b"Content-Length: %d" % len(PNG)
REFUSED = (400,)
UNKNOWN_CODING = (400, 501)  # 501 is RFC 9112's word (section 6.1), 400 as good


def lengths() -> Iterator[Case]:
    """RFC 9110, section 8.6, and RFC 9112, section 6.3: a length that is doubtful in any way is refused."""
    yield Case("length right", (sized(),), ({200},), Then.OPEN, words="predictions")
    yield Case(
        "length with spaces around it", (post(b"Content-Length: \t %d \t" % len(PNG)),), ({200, 400},), Then.EITHER
    )
    yield Case("length with leading zeros", (post(b"Content-Length: 000%d" % len(PNG)),), ({200, 400},), Then.EITHER)
    yield Case("length twice, the same", (post(RIGHT, RIGHT),), ({200, 400},), Then.EITHER)
    bad = {
        "twice, not the same": (RIGHT, b"Content-Length: 5"),
        "twice, the first too short": (b"Content-Length: 5", RIGHT),
        "as a list": (b"Content-Length: %d, 5" % len(PNG),),
        "with a plus": (b"Content-Length: +%d" % len(PNG),),
        "negative": (b"Content-Length: -1",),
        "in hex": (b"Content-Length: 0x10",),
        "with an exponent": (b"Content-Length: 1e2",),
        "with a fraction": (b"Content-Length: 5.0",),
        "of two numbers": (b"Content-Length: 5 5",),
        "with a trailing comma": (b"Content-Length: 5,",),
        "empty": (b"Content-Length:",),
        "of a letter": (b"Content-Length: a",),
        "in quotes": (b'Content-Length: "5"',),
        "of Arabic digits": (b"Content-Length: \xd9\xa5",),
        "with an underscore": (b"Content-Length: 1_0",),
    }
    for name, headers in bad.items():
        yield Case(f"length {name}", (post(*headers),), (REFUSED,), Then.CLOSED)
    for number in (2**31, 2**32 + 5, 2**63, 2**64 + 5, 10**40):
        head = (post(b"Content-Length: %d" % number, body=b""),)
        yield Case(f"length of {float(number):.0e}", head, ({400, 413},), Then.CLOSED)
    yield Case(
        "length just too large", (post(b"Content-Length: %d" % (MAX_BODY + 1), body=b""),), ({413},), Then.CLOSED
    )
    too_long = (post(b"Content-Length: %d" % (3 * MEGABYTE), body=bytes(3 * MEGABYTE)),)
    yield Case("too long a body is sent at once", too_long, ({413},), Then.EITHER)
    yield Case("no length is no body", (post(body=b""),), ({400, 411},), Then.EITHER, words="empty")
    yield Case("a body without a length", (post(),), ({400, 411}, {400}), Then.CLOSED, silent=True)
    yield Case("longer than declared", (sized() + b"\x01\x02 more\r\n\r\n",), ({200}, {400}), Then.CLOSED)
    longer = post(b"Content-Length: %d" % (len(PNG) - 1))
    yield Case("one byte longer than declared", (longer,), ({200, 400}, {400}), Then.CLOSED, silent=True)
    yield Case("a request in a body", (sized(body=get()),), ({415, 400},), Then.OPEN)
    large = sized(body=b'{"inputs": [[1, 2, 3]]}' + b" " * 1_200_000, target=b"/v1/models/digits/infer")
    yield Case("large, then another", (large + get(),), ({400}, {200}), Then.OPEN, words="ok")
    yield Case("large, then garbage", (large + b"\x01\x02\r\n\r\n",), ({400}, {400}), Then.CLOSED)
    pieces = (large[:700], Step.PAUSE, large[700:MEGABYTE], Step.PAUSE, large[MEGABYTE:])
    yield Case("large in pieces", pieces, ({400},), Then.OPEN, words="[1, 3]")
    dripped = tuple(sized()[i : i + 1] for i in range(len(sized())))
    yield Case("byte after byte", dripped, ({200},), Then.OPEN, words="predictions")


def codings() -> Iterator[Case]:
    """RFC 9112, section 6.1: chunked alone is known; beside a Content-Length it is a smuggler's sign."""
    yield Case("chunked", (chunked(),), ({200},), Then.OPEN, words="predictions")
    yield Case(
        "chunked in capitals",
        (post(b"Transfer-Encoding: CHUNKED", body=chunk(PNG) + b"0\r\n\r\n"),),
        ({200},),
        Then.OPEN,
    )
    body = chunk(PNG) + b"0\r\n\r\n"
    both = ((RIGHT, b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: chunked", RIGHT))
    for first, second in both:
        yield Case(f"both, {first[:14].decode()} first", (post(first, second, body=body),), (REFUSED,), Then.CLOSED)
    unknown = (
        b"chunked, identity", b"identity", b"gzip, chunked", b"xchunked", b"chunkedx", b"chunked, chunked", b"",
        b"\x0bchunked", b'"chunked"', b"chunked;q=1", b"cow", b"identity, chunked, identity",
    )  # fmt: skip
    for value in unknown:
        head = post(b"Transfer-Encoding: " + value, body=body)
        yield Case(f"coding {value.decode()!r}", (head,), (UNKNOWN_CODING,), Then.CLOSED)
        head = post(RIGHT, b"Transfer-Encoding: " + value)
        yield Case(f"coding {value.decode()!r} and a length", (head,), (UNKNOWN_CODING,), Then.CLOSED)
    twice = post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=body)
    yield Case("chunked, then identity in a second header", (twice,), (UNKNOWN_CODING,), Then.CLOSED)
    # White space around a value is no part of it; a folded line or a space in the name is an attack.
    for name, line in {
        "after a tab": b"Transfer-Encoding:\tchunked",
        "before a tab": b"Transfer-Encoding: chunked\t",
    }.items():
        yield Case(f"chunked {name}", (post(line, body=body),), ({200, 400},), Then.EITHER)
    for name, line in {
        "folded": b"Transfer-Encoding:\r\n chunked",
        "in a folded line": b"X: y\r\n Transfer-Encoding: chunked",
    }.items():
        yield Case(f"chunked {name}", (post(line, body=body),), (REFUSED,), Then.CLOSED)
    yield Case(
        "chunked after a space in the name", (post(b"Transfer-Encoding : chunked", body=body),), (REFUSED,), Then.CLOSED
    )
    old = request(b"POST", b"/classify", b"Transfer-Encoding: chunked", body=body, version=b"HTTP/1.0")
    yield Case("chunked in HTTP/1.0", (old,), ({200, 400},), Then.CLOSED)


def chunks() -> Iterator[Case]:
    """RFC 9112, section 7.1."""
    end = b"0\r\n\r\n"
    small = b"".join(chunk(PNG[i : i + 1]) for i in range(len(PNG))) + end
    yield Case("chunks of one byte", (chunked(body=small),), ({200},), Then.OPEN, words="predictions")
    extended = chunk(PNG, b";a=b;c") + end
    yield Case("a chunk extension", (chunked(body=extended),), ({200, 400},), Then.EITHER)
    trailer = chunk(PNG) + b"0\r\nX-Sum: 1\r\n\r\n"
    yield Case("a trailer", (chunked(body=trailer),), ({200, 400},), Then.EITHER)
    smuggled = chunk(PNG) + b"0\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n"
    yield Case("framing in a trailer", (chunked(body=smuggled),), ({200, 400},), Then.EITHER)
    yield Case(
        "zeros before a size", (chunked(body=b"000%x\r\n%s\r\n" % (len(PNG), PNG) + end),), ({200, 400},), Then.EITHER
    )
    yield Case("no chunk but the last", (chunked(body=end),), ({400},), Then.OPEN, words="empty")
    sizes = (
        b"zz",
        b"-1",
        b"+5",
        b"0x5",
        b"",
        b" 5",
        b"5 5",
        b"5_0",
        b"FFFFFFFFFFFFFFFFF",
        b"10000000000000005",
        b"\xc2\xb2",
    )
    for size in sizes:
        head = chunked(body=size + b"\r\n" + PNG + b"\r\n" + end)
        yield Case(f"chunk size {size.decode()!r}", (head,), ({400, 413},), Then.CLOSED)
    huge = chunked(body=b"FFFFFFFFFFFFFFF\r\n" + PNG)
    yield Case("chunk of an exabyte", (huge, Step.HALF_CLOSE), ({400, 413},), Then.CLOSED, silent=True)
    bad = {
        "no line end after a chunk": b"5\r\nabcdefg\r\n" + end,
        "LF alone after a size": b"5\nabcde\r\n" + end,
        "CR alone after a size": b"5\rabcde\r\n" + end,
        "LF alone after a chunk": b"5\r\nabcde\n" + end,
        "NUL in an extension": b"5;a=\0\r\nabcde\r\n" + end,
        "a trailer without a colon": chunk(PNG) + b"0\r\nnothing\r\n\r\n",
    }
    for name, body in bad.items():
        yield Case(name, (chunked(body=body),), (REFUSED,), Then.CLOSED)
    big = b";" + b"a" * MEGABYTE
    yield Case("a chunk extension of 1 MB", (chunked(body=chunk(PNG, big) + end),), ({400, 413, 431},), Then.CLOSED)
    many = b"".join(chunk(b"a", b";" + b"b" * 1000) for _ in range(5000)) + end
    yield Case("5 MB of extensions for 5,000 bytes", (chunked(body=many),), ({400, 413, 415, 431},), Then.EITHER)
    long_trailer = chunk(PNG) + b"0\r\n" + b"X-T: %s\r\n" % (b"t" * MEGABYTE) + b"\r\n"
    yield Case("a trailer of 1 MB", (chunked(body=long_trailer),), ({400, 413, 431},), Then.CLOSED)
    trailers = chunk(PNG) + b"0\r\n" + b"X-T: t\r\n" * 100_000 + b"\r\n"
    yield Case("100,000 trailers", (chunked(body=trailers),), ({400, 413, 431},), Then.CLOSED)
    too_long = (chunk(bytes(MEGABYTE)),) * 3
    yield Case("chunks without end", (chunked(body=b""), *too_long), ({413},), Then.CLOSED)


FRAMING = (*lengths(), *codings(), *chunks())
