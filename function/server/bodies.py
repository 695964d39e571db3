"""A request's body by ASGI, or by the server's own way to a large one, within the limits of the intake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from function.errors import PredictError, invalid
from function.limits import LIMITS
from function.messages import LARGE_BODY
from function.server.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from function.server.arrival import Arrival
    from function.server.connection import Connection

    Receive = Callable[[], Awaitable[dict[str, Any]]]


class ClientGoneError(Exception):
    """The connection ended before the body did."""


def declared_length(headers: dict[str, str]) -> int | None:
    """The length of the body, None where it is not declared; PredictError 413 when it is over the limit."""
    declared = headers.get("content-length", "")
    if not (declared.isascii() and declared.isdigit()):
        return None
    # 20 digits are too large in any case, and int() raises ValueError for thousands of them.
    length = int(declared) if len(declared) < 20 else 10**19
    if length > LIMITS.largest_body:
        raise _too_long()
    return length


async def read(arrival: Arrival, receive: Receive, connection: Connection | None) -> bytes | bytearray:
    """The whole body; PredictError as soon as it is known to be too long, too slow or cut off."""
    try:
        if connection is not None and connection.reads_whole():
            return await connection.read_whole(arrival)
        return await _read_messages(arrival, receive)
    except asyncio.CancelledError:
        arrival.check()
        raise
    except MemoryError:
        raise RefusedError("memory", "UNAVAILABLE", "not enough memory for this body; send a smaller one") from None
    except ClientGoneError:
        raise invalid("the connection ended before the body did; send as much as Content-Length says") from None
    finally:
        arrival.complete()


async def _read_messages(arrival: Arrival, receive: Receive) -> bytes | bytearray:
    body: bytes | bytearray = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        if not body:
            body = chunk
        else:
            if isinstance(body, bytes):
                body = bytearray(body)
            body += chunk
        arrival.came(len(chunk))
        if arrival.received > LIMITS.largest_body:
            raise _too_long()
        arrival.hold(len(chunk))
        arrival.check()
        if not message.get("more_body", False):
            return body if len(body) > LARGE_BODY else bytes(body)
        if arrival.received > LARGE_BODY and not arrival.may_go_on():
            turn = asyncio.Event()
            if not arrival.ask(turn.set):
                arrival.check()
                await turn.wait()


def _too_long() -> PredictError:
    limit = LIMITS.largest_body
    return RefusedError(
        "too_large",
        "PAYLOAD_TOO_LARGE",
        f"the body has more than {limit} bytes; send a smaller one or set MAX_BODY_BYTES",
    )
