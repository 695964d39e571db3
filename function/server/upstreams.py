"""Answers of upstreams: written as they come, ended when nobody reads them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from function.server.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from function.exchange import Exchange
    from function.messages import Response
    from function.server.connection import Connection
    from function.upstream.loop import Loop
    from function.upstream.stream import Stream

    Send = Callable[[dict[str, Any]], Awaitable[None]]


async def ask(loop: Loop, exchange: Exchange, connection: Connection | None) -> Response:
    """The upstream's answer; the call ends with the client. PredictError."""
    job = asyncio.ensure_future(loop.ask(exchange))
    if connection is not None:
        connection.ends_with_client, connection.on_lost = True, job.cancel
    try:
        return await job
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not job.cancelled() or (task is not None and task.cancelling()):
            job.cancel()
            raise
        raise RefusedError("disconnected", "UNAVAILABLE", "the client left before the upstream answered") from None
    finally:
        if connection is not None:
            connection.on_lost = None


async def write(exchange: Exchange, send: Send, connection: Connection | None) -> None:
    """The pieces of the response, whose head was sent."""
    chunks: Any = exchange.response.chunks  # in a server an upstream's Stream, and nothing else
    stream: Stream = chunks
    try:
        if connection is None:
            async for piece in stream:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        else:
            connection.on_lost = stream.abort
            await send({"type": "http.response.body", "more_body": True})
            if connection.lost:
                stream.abort()
            await stream.pipe(connection)
    finally:
        stream.abort()
        exchange.bytes_out = stream.reply.size()
    await send({"type": "http.response.body", "body": b""})
