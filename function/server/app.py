"""The same core as an ASGI app for any server; docs/operations.md, "Limits", says what it turns away."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from function.errors import PredictError
from function.exchange import Exchange
from function.messages import Request, error_response, parsed_query, unquoted
from function.native import cpu
from function.observability.prometheus import Metrics
from function.observability.telemetry import finish, report
from function.server import bodies, start, upstreams
from function.server.connection import EXTENSION
from function.server.intake import Intake
from function.server.refusals import RefusedError
from function.server.work import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from function.app import App
    from function.concurrency import Background
    from function.server.connection import Connection
    from function.settings import Settings
    from function.upstream.loop import Loop

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]


READY_WAIT_S = 0.5  # that a probe waits for the model rather than be told to come again: less than probes have


def create_app(settings: Settings | None = None) -> AsgiApp:
    """The app over `settings`, by default the environment's, for any ASGI server."""
    return AsgiApp(start.core(settings or start.settings(os.environ)))


class AsgiApp:
    """An ASGI 3 callable: HTTP and lifespan. Health and metadata are answered at once, the rest on threads."""

    def __init__(self, core: App, loading: Background | None = None) -> None:
        """`loading` ends with the default model, where that is not left to the lifespan."""
        self._core, self._settings, self._loading = core, core.settings, loading
        core.inference.loading = loading is not None
        self._loaded = asyncio.Event()
        settings, workers = core.settings, cpu.count(core.settings.function_memory_mb)
        self.metrics = core.inference.metrics = Metrics()
        self._work = Work(workers, settings.queue_size, self._core.respond)
        self._intake = Intake(2 * workers, settings.queue_size)
        core.inference.defers = True
        self._upstreams: Loop | None = None

    def refresh(self) -> None:
        """Loads models anew that were prepared again since they were loaded."""
        self._core.inference.models.refresh()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = _joined(scope["headers"])
        request = Request(scope["method"], scope["path"], {}, headers, b"")
        connection = (scope.get("extensions") or {}).get(EXTENSION)
        exchange = Exchange(request, request_id=headers.get("x-request-id"), xray=headers.get("x-amzn-trace-id"))
        try:
            request.path, request.query = _path(scope), _query(scope)
            if request.method == "POST":
                await self._post(exchange, receive, connection)
            else:  # on the event loop: it must not wait for an inference
                if self._core.inference.loading and request.path.endswith("/ready"):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._loaded.wait(), READY_WAIT_S)
                self._core.respond(exchange)
        except PredictError as error:
            exchange.response = error_response(error)
            if isinstance(error, RefusedError):
                self.metrics.refused(error.reason)
        finish(exchange)
        response = exchange.response
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        if response.chunks is not None:
            try:
                await send({"type": "http.response.start", "status": response.status, "headers": raw})
                await upstreams.write(exchange, send, connection)
            finally:
                self._told(exchange)
            return
        self._told(exchange)
        raw.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": raw})
        await send({"type": "http.response.body", "body": response.body})

    def _told(self, exchange: Exchange) -> None:
        report(self._settings, exchange)
        self.metrics.observe(exchange)

    async def _post(self, exchange: Exchange, receive: Receive, connection: Connection | None) -> None:
        """The body is received before a place in the queue is taken; an upstream's answer needs none."""
        length = bodies.declared_length(exchange.request.headers)
        arrival = self._intake.open(length, connection.readable if connection is not None else None)
        try:
            exchange.request.body = await bodies.read(arrival, receive, connection)
            if self._core.goes_upstream(exchange):
                self._core.respond(exchange)
            else:
                await self._work.run(exchange, connection)
        finally:
            arrival.close()
        if exchange.upstream is not None and exchange.response.status == 200:
            exchange.response = await upstreams.ask(self._asker(), exchange, connection)
            if exchange.cache_key:
                await asyncio.to_thread(self._core.keep, exchange)

    def _asker(self) -> Loop:
        if self._upstreams is None:
            from function.upstream.loop import Loop  # 3 ms, for whoever has upstreams

            self._upstreams = Loop(self._core.inference.gateway())
        return self._upstreams

    def end_streams(self) -> None:
        """The server ends: what still streams ends with an event that says so."""
        if self._upstreams is not None:
            self._upstreams.end()

    async def loaded(self) -> None:
        """Waits until the default model is loaded; PredictError when it cannot be."""
        if self._loading is None:
            self._loading = start.load(self._core)
        await asyncio.to_thread(self._loading.result)
        self._core.inference.loading = False
        self._loaded.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        """Other servers take no request before the default model is loaded: /ready is then the truth from the start."""
        await receive()
        try:
            await self.loaded()
        except PredictError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def _joined(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            repeated.setdefault(name, [headers[name]]).append(value)
        else:
            headers[name] = value
    for name, values in repeated.items():
        headers[name] = ", ".join(values)
    return headers


def _path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or b""
    if b"%" not in raw:
        path: str = scope["path"]
        return path
    return unquoted(raw.decode("latin-1"), "the path")


def _query(scope: Scope) -> dict[str, str]:
    return parsed_query(scope["query_string"].decode("utf-8", "surrogateescape"))
