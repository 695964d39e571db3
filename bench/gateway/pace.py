"""An upstream that sends tokens at a steady pace to any number of streams, and a client that times what comes of it.

Both are loops over epoll, so that 40,000 tokens a second take them half of a core: `python -m bench.gateway.streams`
starts each as a process. Every token carries the time when it was sent.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from array import array

PERIOD_S = 0.05  # 20 tokens a second
SLOTS = 50  # into which the streams are spread, so that the upstream has no bursts
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TOKEN = b'data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
TOKEN += b'{"content":"tok"},"finish_reason":null}],"at":%020d}\n\n'
LAST = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"
WHOLE = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(WHOLE), WHOLE)


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def upstream(tokens: int) -> None:
    """Prints its port, then answers: `tokens` tokens at the pace to what asks for a stream, else WHOLE at once."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    slots: list[dict[int, int]] = [{} for _ in range(SLOTS)]  # descriptor -> tokens that are left
    tick, begun, placed = 0, time.monotonic(), 0
    while True:
        for descriptor, _ in poll.poll(max(0.0, begun + tick * PERIOD_S / SLOTS - time.monotonic())):
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            try:
                data = connections[descriptor].recv(65536)
            except OSError:
                data = b""
            if not data:
                for slot in slots:
                    slot.pop(descriptor, None)
                connections.pop(descriptor).close()
            elif b'"stream": true' in data or b'"stream":true' in data:
                connections[descriptor].send(HEAD)
                slots[placed % SLOTS][descriptor] = tokens
                placed += 1
            elif b'"messages"' in data:  # else it is a head whose body comes by itself
                connections[descriptor].send(ANSWER)
        now = time.monotonic()
        while begun + tick * PERIOD_S / SLOTS <= now:
            slot = slots[tick % SLOTS]
            tick += 1
            piece = framed(TOKEN % time.monotonic_ns())
            for descriptor, left in list(slot.items()):
                if left:
                    slot[descriptor] = left - 1
                    connections[descriptor].send(piece)
                else:
                    del slot[descriptor]
                    connections[descriptor].send(framed(LAST) + END)


def client(port: int, path: str, model: str, count: int) -> None:
    """Opens `count` streams, reads them to their end and prints what was measured: milliseconds, and what was lost."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "go on"}], "stream": True}).encode()
    request = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n".encode()
    request += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    poll = select.epoll()
    connections: dict[int, socket.socket] = {}
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        connection.setblocking(False)
        connections[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
        time.sleep(0.0005)
    last: dict[int, float] = {}
    tails: dict[int, bytes] = dict.fromkeys(connections, b"")
    gaps, delays, whole = array("d"), array("d"), 0
    settled = time.monotonic() + 1.0
    while connections:
        events = poll.poll(30)
        if not events:
            break
        for descriptor, _ in events:
            try:
                data = connections[descriptor].recv(65536)
            except OSError:
                data = b""
            now = time.monotonic()
            tails[descriptor] = (tails[descriptor] + data)[-300:]
            ended = tails[descriptor].endswith(END)
            if ended or not data:
                whole += ended and LAST.strip() in tails[descriptor]
                connections.pop(descriptor).close()
                continue
            if descriptor in last and now > settled:
                gaps.append((now - last[descriptor]) * 1000)
                at = data.rfind(b'"at":')
                if at >= 0 and len(data) >= at + 25:
                    delays.append((time.monotonic_ns() - int(data[at + 5 : at + 25])) / 1e6)
            last[descriptor] = now
    result: dict[str, float] = {"streams": count, "lost": count - whole, "reads": len(gaps)}
    for name, values in (("gap", gaps), ("delay", delays)):
        ordered = sorted(values) or [0.0]
        result |= {f"{name}_p50": ordered[len(ordered) // 2], f"{name}_p99": ordered[len(ordered) * 99 // 100]}
        result[f"{name}_max"] = ordered[-1]
    print(json.dumps({name: round(value, 2) for name, value in result.items()}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "upstream":
        upstream(int(sys.argv[2]))
    else:
        client(int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
