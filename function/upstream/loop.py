"""Calls to upstreams on an event loop: a call takes no thread, and a token no task."""

from __future__ import annotations

import asyncio

from function.upstream.failure import UpstreamError
from function.upstream.gateway import give_back, take
from function.upstream.stream import Stream
from function.upstream.wires import Wires

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.asked import Asked
    from function.exchange import Exchange
    from function.messages import Response
    from function.upstream.call import Call
    from function.upstream.gateway import Gateway
    from function.upstream.target import Target


class Loop:
    """All calls of one event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._wires = gateway, Wires()
        self._open: set[Stream] = set()

    async def ask(self, exchange: Exchange) -> Response:
        """The answer to `exchange.upstream.call`; its `chunks`, where it streams, are a Stream.

        PredictError where no upstream gives one.
        """
        asked = exchange.upstream
        assert asked is not None  # noqa: S101
        call: Call = asked.call
        with exchange.phase("upstream"):  # to the first token
            while True:
                try:
                    response = await self._attempt(call, asked)
                except UpstreamError as error:
                    await asyncio.sleep(self._gateway.failed(asked, error, asyncio.get_running_loop().time()))
                else:
                    asked.target = call.target.name
                    return response

    async def _attempt(self, call: Call, asked: Asked) -> Response:
        target = call.target
        take(target)
        stream = None
        try:
            key = self._gateway.keys.known(target.key)
            if key is None:
                key = await asyncio.to_thread(self._gateway.keys.get, target.key)
            stream = await self._begun(call, key, asked)
        finally:
            if stream is None or not stream.held:
                give_back(target)
        response = stream.reply.response()
        if stream.reply.streams:
            response.chunks = stream
        return response

    async def _begun(self, call: Call, key: str, asked: Asked) -> Stream:
        target = call.target
        request = call.request(key)
        while True:
            wire = self._wires.kept(target) or await self._wires.connect(target)
            stream = Stream(call, wire, lambda stream: self._finished(stream, target, asked))
            self._open.add(stream)
            wire.transport.write(request)
            try:
                await stream.begun()
            except UpstreamError as error:
                if error.kind != "cut" or not wire.kept or stream.reply.heard:
                    raise  # else the upstream has closed an idle connection, and has not seen this call
            except asyncio.CancelledError:
                stream.abort()
                raise
            else:
                stream.held = not stream.over
                return stream

    def _finished(self, stream: Stream, target: Target, asked: Asked) -> None:
        self._open.discard(stream)
        reply, wire = stream.reply, stream.wire
        asked.usage = reply.usage()
        if stream.failure is None and reply.reader.reusable:
            self._wires.keep(target, wire)
        else:
            wire.close()
        if stream.failure is not None and reply.begun:
            asked.failures.append(stream.failure.kind)
        if stream.held:
            give_back(target)

    def end(self) -> None:
        """The server ends: streams that are still open end with an event that says so."""
        for stream in list(self._open):
            stream.fail(UpstreamError("ending", "the server is ending; ask again"))
        self._wires.close()
