"""CPU for a token and for a call, of the HTTP clients that a gateway might be built on.

    PYTHONPATH=. python -m bench.gateway.clients ours aiohttp httpx

Each reads the same streams of `pace.py` in a process of its own; aiohttp and httpx have to be installed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.gateway.pace import PERIOD_S

STREAMS, TOKENS, CALLS = 300, 100, 500
PATH = "/v1/chat/completions"
BODY = {"model": "chat", "messages": [{"role": "user", "content": "go on"}]}


class _Target:
    name, tls, host, path, model, key = "chat", False, "127.0.0.1", "/v1", "m", ""
    connect_s = first_token_s = between_tokens_s = whole_s = 60.0
    retries = concurrency = max_tokens = 0
    cache = False

    def __init__(self, port: int) -> None:
        self.port, self.authority, self.open = port, f"127.0.0.1:{port}", 0
        self.address = (self.host, port, False)


class _Sink:
    """As the server's connection takes the pieces of an answer."""

    size = 0

    def write(self, data: bytes) -> bool:
        self.size += len(data)
        return True

    async def drain(self) -> None: ...


async def ours(port: int) -> Any:
    """The function's own."""
    from function.codecs.completion import Completion
    from function.upstream.call import Call
    from function.upstream.stream import Stream
    from function.upstream.wires import Wires

    target: Any = _Target(port)
    wires = Wires()

    async def call(*, stream: bool) -> int:
        body: Any = Completion(json.dumps(BODY | {"stream": stream}).encode())
        made: Any = Call(PATH.removeprefix("/v1"), body, iter([target]), time.monotonic() + 60, "x")
        wire = wires.kept(target) or await wires.connect(target)
        answer = Stream(made, wire, lambda stream: wires.keep(target, stream.wire))
        wire.transport.write(made.request(""))
        await answer.begun()
        sink = _Sink()
        if stream:
            await answer.pipe(sink)
        return sink.size

    return call, wires.close


async def aiohttp(port: int) -> Any:
    """aiohttp's client session."""
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    url = f"http://127.0.0.1:{port}{PATH}"

    async def call(*, stream: bool) -> int:
        async with session.post(url, json=BODY | {"stream": stream}) as answer:
            if not stream:
                return len(await answer.read())
            return sum([len(piece) async for piece in answer.content.iter_any()])

    return call, lambda: asyncio.ensure_future(session.close())


async def httpx(port: int) -> Any:
    """httpx's asynchronous client."""
    import httpx

    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60)
    url = f"http://127.0.0.1:{port}{PATH}"

    async def call(*, stream: bool) -> int:
        if not stream:
            return len((await client.post(url, json=BODY | {"stream": stream})).content)
        async with client.stream("POST", url, json=BODY | {"stream": stream}) as answer:
            return sum([len(piece) async for piece in answer.aiter_raw()])

    return call, lambda: asyncio.ensure_future(client.aclose())


async def measured(name: str, port: int) -> dict[str, Any]:
    """Microseconds of CPU, and megabytes that the process has at the end."""
    call, close = await globals()[name](port)
    await call(stream=False)
    begun = time.process_time()
    for _ in range(CALLS):
        await call(stream=False)
    a_call = (time.process_time() - begun) / CALLS
    tasks = [asyncio.ensure_future(call(stream=True)) for _ in range(STREAMS)]
    await asyncio.sleep(20 * PERIOD_S)  # by then all have begun
    begun, since = time.process_time(), time.monotonic()
    await asyncio.sleep(60 * PERIOD_S)
    tokens = STREAMS * (time.monotonic() - since) / PERIOD_S
    a_token = (time.process_time() - begun) / tokens
    assert len(set(await asyncio.gather(*tasks))) == 1
    close()
    await asyncio.sleep(0)
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
    return {
        "client": name,
        "us_token": round(a_token * 1e6, 1),
        "us_call": round(a_call * 1e6),
        "mb": round(resident, 1),
    }


def main() -> None:
    """One line for each client named."""
    if sys.argv[1] == "--one":
        print(json.dumps(asyncio.run(measured(sys.argv[2], int(sys.argv[3])))))
        return
    command = [sys.executable, "-m", "bench.gateway.pace", "upstream", str(TOKENS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as upstream:
        assert upstream.stdout is not None
        port = upstream.stdout.readline().strip()
        try:
            for name in sys.argv[1:]:
                subprocess.run([sys.executable, "-m", "bench.gateway.clients", "--one", name, port], check=True)
        finally:
            upstream.kill()


if __name__ == "__main__":
    main()
