"""Calls to upstreams over plain sockets, for Lambda: one at a time, and no module of 70 ms for it."""

from __future__ import annotations

import socket
import time

from function.upstream import events
from function.upstream.failure import UpstreamError, unreachable
from function.upstream.gateway import give_back, take
from function.upstream.reply import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from function.asked import Asked
    from function.exchange import Exchange
    from function.messages import Response
    from function.upstream.call import Call
    from function.upstream.gateway import Gateway
    from function.upstream.target import Target

_PIECE = 64 * 1024  # bytes
_kept: dict[tuple[str, int, bool], list[socket.socket]] = {}  # connections for the next invocations
_tls: ssl.SSLContext | None = None


def ask(gateway: Gateway, exchange: Exchange) -> Response:
    """The answer to `exchange.upstream.call`; its `chunks`, where it streams, end the call when they are closed.

    PredictError where no upstream gives one.
    """
    asked = exchange.upstream
    assert asked is not None  # noqa: S101
    call: Call = asked.call
    with exchange.phase("upstream"):  # to the first token
        while True:
            try:
                response = _attempt(gateway, call, asked)
            except UpstreamError as error:
                time.sleep(gateway.failed(asked, error, time.monotonic()))
            else:
                asked.target = call.target.name
                return response


def _attempt(gateway: Gateway, call: Call, asked: Asked) -> Response:
    target = call.target
    take(target)
    held = True
    try:
        request = call.request(gateway.keys.get(target.key))
        wire, reply, first = _begun(call, request)
        response = reply.response()
        if reply.streams:
            response.chunks = _pieces(target, wire, reply, first, asked)
            held = False
        else:
            asked.usage = reply.usage()
            _keep(target, wire, reply)
        return response
    finally:
        if held:
            give_back(target)


def _begun(call: Call, request: bytes) -> tuple[socket.socket, Reply, bytes]:
    """An answer of which the first token is there, or all of one that does not stream."""
    idle = _kept.setdefault(call.target.address, [])
    while True:
        kept = bool(idle)
        wire = idle.pop() if kept else _connect(call.target)
        reply = Reply(call, time.monotonic())
        try:
            piece = b""
            _send(wire, request, reply)
            while not reply.begun:
                piece = _receive(wire, reply)
        except UpstreamError as error:
            wire.close()
            if error.kind != "cut" or not kept or reply.heard:
                raise  # else the upstream has closed an idle connection, perhaps while Lambda was frozen
        except BaseException:
            wire.close()
            raise
        else:
            return wire, reply, piece


def _pieces(target: Target, wire: socket.socket, reply: Reply, piece: bytes, asked: Asked) -> Iterator[bytes]:
    """The rest of the stream; a failure is its last event."""
    try:
        while True:
            if piece:
                yield piece
                reply.moved(time.monotonic())  # the reader may have taken its time
            if reply.done:
                break
            try:
                piece = _receive(wire, reply)
            except UpstreamError as error:
                asked.failures.append(error.kind)
                yield events.error(error)
                return
        _keep(target, wire, reply)
    except GeneratorExit:
        asked.failures.append("client")
        raise
    finally:
        asked.usage = reply.usage()
        give_back(target)
        if not any(wire is each for each in _kept[target.address]):
            wire.close()


def _connect(target: Target) -> socket.socket:
    try:
        wire = socket.create_connection((target.host, target.port), target.connect_s)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _context().wrap_socket(wire, server_hostname=target.host) if target.tls else wire
    except OSError as error:
        raise unreachable(target, error) from None


def _context() -> ssl.SSLContext:
    global _tls  # noqa: PLW0603
    if _tls is None:
        import ssl

        _tls = ssl.create_default_context()  # 50 ms: once for all connections
    return _tls


def _send(wire: socket.socket, request: bytes, reply: Reply) -> None:
    wire.settimeout(max(0.001, reply.expires() - time.monotonic()))
    try:
        wire.sendall(request)
    except TimeoutError:
        raise reply.overdue(reply.expires()) or AssertionError from None
    except OSError:  # it may have answered before it closed
        pass


def _receive(wire: socket.socket, reply: Reply) -> bytes:
    """What may be passed on of what comes next; UpstreamError."""
    while True:
        wire.settimeout(max(0.001, reply.expires() - time.monotonic()))
        try:
            data = wire.recv(_PIECE)
        except TimeoutError:
            if (error := reply.overdue(time.monotonic())) is not None:
                raise error from None
            continue
        except OSError:
            data = b""
        now = time.monotonic()
        return reply.feed(data, now) if data else reply.end(now)


def _keep(target: Target, wire: socket.socket, reply: Reply) -> None:
    if reply.reader.reusable:
        _kept[target.address].append(wire)
    else:
        wire.close()
