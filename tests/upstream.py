"""An upstream of the tests: an HTTP server on loopback that answers as it is told to, wrongly too. Standard library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}
JSON = {"Content-Type": "application/json"}


def event(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def chunk(text: str, **more: Any) -> bytes:
    """An event of a chat's stream."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    return event(
        {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    )


USAGE = event(
    {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "details": {"cached": 0}},
    }
)
DONE = b"data: [DONE]\n\n"
TALK = [chunk("He"), chunk("llo, "), chunk("wörld \u2028 \\n"), USAGE, DONE]


def completion(text: str) -> bytes:
    """A chat's answer that does not stream."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    document = {
        "id": "c-2",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(document, indent=1).encode()


@dataclass
class Answer:
    """What one call gets. `pieces` are HTTP chunks; before piece `waits_at` it waits until `gate` is set.

    `cut`: the connection is closed after the pieces, without the end of the body. `raw`: bytes in place of it all.
    """

    pieces: list[bytes] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(STREAM))
    waits_at: int | None = None
    cut: bool = False
    raw: bytes | None = None
    length: bool = False  # Content-Length instead of chunks
    pause: float = 0.0  # between pieces


@dataclass
class Seen:
    """A request as it came; `gone` is set when its caller has hung up before the answer was whole."""

    path: str
    headers: dict[str, str]
    body: bytes
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Upstream:
    """Answers each call with what `answer` gives for it, by default TALK or a completion."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.gate = threading.Event()
        self.answer: Callable[[Seen], Answer] = usual
        self.connections = 0
        self.sent = 0  # bytes of pieces
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=4096)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for writer in self._writers:
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0.01))  # the transports close their sockets
        self._loop.close()

    def close(self) -> None:
        self.gate.set()
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def drop_idle(self) -> None:
        """Closes all connections, as an upstream does with those that are idle for long."""
        done = threading.Event()

        def drop() -> None:
            for writer in list(self._writers):
                writer.close()
            self._loop.call_later(0.05, done.set)

        self._loop.call_soon_threadsafe(drop)
        done.wait(30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        seen = Seen(head[0].split()[1], headers, body)
        self.seen.append(seen)
        watch = asyncio.ensure_future(reader.read(1))
        watch.add_done_callback(lambda task: None if task.cancelled() else seen.gone.set())
        try:
            return await self._send(self.answer(seen), seen, writer)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _send(self, answer: Answer, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        if answer.raw is not None:
            writer.write(answer.raw)
            await writer.drain()
            return False
        framing = {"Transfer-Encoding": "chunked"}
        if answer.length:
            framing = {"Content-Length": str(sum(map(len, answer.pieces)))}
        lines = [f"HTTP/1.1 {answer.status} Whatever"]
        lines += [f"{name}: {value}" for name, value in (answer.headers | framing).items()]
        if answer.waits_at == -1:  # before the head
            await self._wait(seen)
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for index, piece in enumerate(answer.pieces):
            if index == answer.waits_at:
                await self._wait(seen)
            writer.write(piece if answer.length else b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            self.sent += len(piece)
            if answer.pause:
                await asyncio.sleep(answer.pause)
        if answer.waits_at == len(answer.pieces):
            await self._wait(seen)
        if answer.cut:
            return False
        writer.write(b"" if answer.length else b"0\r\n\r\n")
        await writer.drain()
        return not seen.gone.is_set()

    async def _wait(self, seen: Seen) -> None:
        while not (self.gate.is_set() or seen.gone.is_set()):
            await asyncio.sleep(0.005)
        if seen.gone.is_set():
            raise ConnectionError


def usual(seen: Seen) -> Answer:
    """What a well one answers."""
    if seen.document.get("stream"):
        return Answer(list(TALK))
    return Answer([completion("Hello")], headers=dict(JSON), length=True)


@contextlib.contextmanager
def upstream(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """A running one."""
    made = Upstream(tls)
    try:
        yield made
    finally:
        made.close()


def write_folder(folder: Path, port: int, *, tls: bool = False, **rules: object) -> Path:
    """A model folder that asks the upstream on that port; prepare it."""
    folder.mkdir(parents=True)
    host = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    table = {"url": f"{host}/v1", "model": f"{folder.name}-there"} | rules
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    head = dict.fromkeys(("name", "version", "description", "licence", "source"), folder.name)
    text = "\n".join([*(f"{name} = {json.dumps(value)}" for name, value in head.items()), "[upstream]", *lines, ""])
    (folder / "model.toml").write_text(text)
    return folder
