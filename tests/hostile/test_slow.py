"""Slow senders take nothing from honest clients, and half-open heads do not use up the server's descriptors."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from tests.hostile import server_process
from tests.hostile.slow import Senders, descriptors, measure

SENDERS = 500
SECONDS = 20 if os.environ.get("HOSTILE_LONG") else 5
LEFT = 0.5  # of the throughput; `python -m tests.hostile.slow` expects 90 % on a machine of one's own
DESCRIPTORS = 1024  # a container's default
HALF_OPEN = 1100
PATIENCE = 60.0


def test_honest_clients_beside_slow_senders(digits_prepared: object) -> None:
    with server_process.serve() as server, descriptors(SENDERS + 200):
        measure(server.port, 1)
        alone = measure(server.port, SECONDS)
        with Senders(server.port, SENDERS):
            beside = measure(server.port, SECONDS)
        assert set(alone.statuses) == {200}, alone.shown()
        assert set(beside.statuses) == {200}, beside.shown()
        assert beside.rate >= LEFT * alone.rate, f"alone {alone.shown()}; beside them {beside.shown()}"
        assert server.get("/health") == 200


def test_health_beside_more_half_open_heads_than_descriptors(digits_prepared: object) -> None:
    prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    with server_process.serve(prefix=prefix) as server, descriptors(HALF_OPEN + 200):
        heads = []
        try:
            for _ in range(HALF_OPEN):
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
                heads.append(connection)
                with suppress(OSError):  # the server may turn it away
                    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
            deadline = time.monotonic() + PATIENCE
            answered = 0
            while answered < 5:  # again and again, not in a lucky moment
                assert time.monotonic() < deadline, f"/health was answered {answered} times within {PATIENCE} s"
                try:
                    answered += server.get("/health", timeout=5) == 200
                except OSError:
                    time.sleep(0.1)
        finally:
            for connection in heads:
                connection.close()
        assert server.alive()
