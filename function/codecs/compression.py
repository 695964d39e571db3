"""Content codings gzip and deflate (RFC 9110, 8.4.1), with a bound on what a body may inflate to."""

from __future__ import annotations

from function.errors import PredictError, invalid
from function.messages import LARGE_BODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.messages import Body

_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's window bits, which also choose the container
_FEED, _STEP = 64 * 1024, 256 * 1024  # bytes that are inflated at a time, and of what they become
_LEVEL = 1  # answers are small or hardly compressible: time counts for more than the last percent


def largest(body: Body, encoding: str, limit: int) -> int:
    """What `inflate` makes of `body` has at most so many bytes: gzip states its size at its end, modulo 2^32."""
    stated = int.from_bytes(body[-4:], "little") if encoding.strip().lower() == "gzip" else limit
    return min(limit, max(stated, LARGE_BODY))


def inflate(body: Body, encoding: str, limit: int) -> Body:
    """`body` without its Content-Encoding `encoding`: identity, gzip or deflate (zlib-wrapped or raw).

    Inflating stops at `limit` bytes. PredictError: PAYLOAD_TOO_LARGE beyond the limit, INVALID_ARGUMENT when
    the stream is damaged, cut off or followed by more bytes, UNSUPPORTED_MEDIA_TYPE for any other encoding.
    A large result is a bytearray.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise PredictError(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Content-Encoding is {encoding[:60]!r}; supported: gzip, deflate, identity",
        )
    import zlib

    stream = zlib.decompressobj(_GZIP if encoding == "gzip" else _deflate_container(body))
    most = largest(body, encoding, limit)
    view, at, inflated = memoryview(body), 0, bytearray()
    while not stream.eof:
        piece: bytes | memoryview = stream.unconsumed_tail
        if not piece:
            piece = view[at : at + _FEED]
            at += len(piece)
        try:
            made = stream.decompress(piece, _STEP)
        except zlib.error as error:
            raise invalid(f"the body is not {encoding} as its Content-Encoding says: {error}") from None
        inflated += made
        if len(inflated) > limit:
            raise PredictError(
                "PAYLOAD_TOO_LARGE",
                f"the {encoding} body inflates to more than the limit of {limit} bytes; send less",
            )
        if len(inflated) > most:
            raise invalid(
                f"the gzip body inflates to more than the {most} bytes that it ends with; send one gzip stream"
            )
        if not (piece or made):
            raise invalid(f"the {encoding} body ends too early, after {len(inflated)} inflated bytes; send it whole")
    extra = len(stream.unused_data) + len(body) - at
    if extra:
        raise invalid(f"the {encoding} body has {extra} bytes after its end; send one {encoding} stream")
    return inflated if len(inflated) > LARGE_BODY else bytes(inflated)


def _deflate_container(body: Body) -> int:
    """RFC 9110 means zlib's format, some clients send the stream bare: RFC 1950's header check tells."""
    zlib_header = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _ZLIB if zlib_header else _RAW


def deflate(body: bytes, encoding: str) -> bytes:
    """`body` in `encoding`, gzip or deflate (zlib-wrapped). The same body gives the same bytes: no time."""
    import zlib

    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if encoding == "gzip" else _ZLIB)
    return stream.compress(body) + stream.flush()


def accepted_encoding(header: str) -> str | None:
    """What an Accept-Encoding `header` likes best: gzip (also when equal), deflate, or None for neither."""
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        name, _, parameter = item.partition(";")
        weights[name.strip()] = _weight(parameter)
    best = max(("gzip", "deflate"), key=lambda name: weights.get(name, weights.get("*", 0.0)))
    weight = weights.get(best, weights.get("*", 0.0))
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameter: str) -> float:
    """The value of "q=0.5", 1 without one, 0 when it is not 0 to 1."""
    name, _, value = parameter.partition("=")
    if not parameter.strip():
        return 1.0
    digits = value.strip()
    if name.strip() != "q" or not digits.isascii() or not digits.replace(".", "", 1).isdigit() or len(digits) > 5:
        return 0.0
    weight = float(digits)
    return weight if weight <= 1 else 0.0
