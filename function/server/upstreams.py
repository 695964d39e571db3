"""Answers of upstreams, and all others that come in pieces: written as they come, ended when nobody reads them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from function.server.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import Any

    from function.exchange import Exchange
    from function.messages import Response
    from function.server.connection import Connection
    from function.upstream.loop import Loop

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
    from function.upstream.stream import Stream  # only where something streams

    chunks: Any = exchange.response.chunks
    if isinstance(chunks, Stream):
        try:
            if connection is None:
                async for piece in chunks:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            else:
                connection.on_lost = chunks.abort
                await send({"type": "http.response.body", "more_body": True})
                if connection.lost:
                    chunks.abort()
                await chunks.pipe(connection)
        finally:
            chunks.abort()
            exchange.bytes_out = chunks.reply.size()
    else:
        async for piece in _pieces(chunks):
            exchange.bytes_out += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _pieces(chunks: Iterator[bytes] | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if hasattr(chunks, "__aiter__"):
        async for piece in chunks:
            yield piece
    else:
        while (each := await asyncio.to_thread(next, chunks, None)) is not None:
            yield each
