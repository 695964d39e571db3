"""The same core as an ASGI app for any server: `function.asgi:app`; Mangum(app, lifespan="off") runs it on Lambda."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette import requests, responses
from starlette.applications import Starlette
from starlette.routing import Route

from function.app import App
from function.errors import PredictError, invalid
from function.exchange import Exchange, Trace
from function.limits import LIMITS
from function.messages import LARGE_BODY, WHOLE_BODY, Request, Response, error_response
from function.native import cpu
from function.observability.prometheus import Metrics
from function.observability.telemetry import finish, report
from function.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Many requests at once: each runs on one thread, and there is one such thread for each CPU.
SETTINGS = Settings({"INTRA_OP_THREADS": "1", **os.environ})
WORKERS = cpu.count(SETTINGS.function_memory_mb)
API = App(SETTINGS, WORKERS)
METRICS = API.inference.metrics = Metrics()
BODY_SECONDS = 30  # a sender slower than this holds a place that others need


class Pool:
    """Threads for what takes a CPU, and a count of the requests that wait for one or run."""

    def __init__(self, workers: int, queue_size: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="infer")
        self._limit = workers + queue_size
        self._admitted = 0
        # Large bodies are read two for each thread, one being worked on and one being received: the others wait in
        # their senders' sockets, where they take no memory of ours.
        self.large = asyncio.Semaphore(2 * workers)

    def admit(self) -> None:
        """Takes a place before the body is read; PredictError 503 when all are taken. `leave` gives it back."""
        if self._admitted >= self._limit:
            raise PredictError("UNAVAILABLE", f"{self._limit} requests are being served already; try again in a second")
        self._admitted += 1

    def leave(self) -> None:
        self._admitted -= 1

    async def respond(self, exchange: Exchange) -> Response:
        """The core's answer, worked out on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, API.respond, exchange)


POOL = Pool(WORKERS, SETTINGS.queue_size)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """A server loads the default model before it takes requests: /ready is then the truth from the start."""
    await asyncio.to_thread(lambda: API.inference.models.get(SETTINGS.model_name).warm())
    yield


async def endpoint(asgi_request: requests.Request) -> responses.Response:
    """Any request: health and metadata answered at once, the rest on the pool."""
    request = Request(
        asgi_request.method,
        asgi_request.scope["path"],
        dict(parse_qsl(asgi_request.scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        _joined(asgi_request),
        b"",
    )
    exchange = Exchange(request, request_id=asgi_request.headers.get("x-request-id"))
    try:
        if request.method != "POST":  # never behind an inference
            API.respond(exchange)
        else:
            POOL.admit()
            try:
                async with POOL.large if _is_large(asgi_request) else nullcontext():
                    request.body = await _body(asgi_request)
                    await POOL.respond(exchange)
            finally:
                POOL.leave()
    except PredictError as error:
        exchange.response = error_response(error)
        if error.status == 503:
            exchange.response.headers["Retry-After"] = "1"
    exchange.trace = Trace(request.headers.get("traceparent"), request.headers.get("x-amzn-trace-id"))
    finish(exchange)
    report(SETTINGS, exchange)
    METRICS.observe(exchange)
    response = exchange.response
    return responses.Response(response.body, response.status, response.headers)


def _joined(asgi_request: requests.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in asgi_request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _is_large(asgi_request: requests.Request) -> bool:
    declared = asgi_request.headers.get("content-length", "")
    return not declared.isdigit() or int(declared) > LARGE_BODY


async def _body(asgi_request: requests.Request) -> bytes | bytearray:
    """The whole body; PredictError 413 as soon as it is known to be too long, before it has all come."""
    limit = LIMITS.largest_body
    declared = asgi_request.headers.get("content-length", "0")
    size, chunks = 0, []
    if declared.isdigit() and int(declared) > limit:
        raise _too_long(limit)
    whole = asgi_request.scope.get("extensions", {}).get(WHOLE_BODY)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if whole is not None:
                body: bytearray = await whole["read"]()
                return body
            async for chunk in asgi_request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_long(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise invalid(
            f"the body did not arrive within {BODY_SECONDS} s; send it faster, or in smaller batches"
        ) from None
    except requests.ClientDisconnect:
        raise invalid("the connection ended before the body did; send as much as Content-Length says") from None
    return b"".join(chunks)


def _too_long(limit: int) -> PredictError:
    return PredictError(
        "PAYLOAD_TOO_LARGE", f"the body has more than {limit} bytes; send a smaller one or set MAX_BODY_BYTES"
    )


async def unrouted(asgi_request: requests.Request, _error: Exception) -> responses.Response:
    """What Starlette's pattern leaves over, a path with a line end or an unknown method: the core's words for it."""
    return await endpoint(asgi_request)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # the core itself answers 405
app = Starlette(
    routes=[Route("/{path:path}", endpoint, methods=METHODS)],
    exception_handlers={404: unrouted, 405: unrouted},
    lifespan=lifespan,
)
