"""`make serve`: the ASGI app under uvicorn, in one process."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import threading

import uvicorn

from function.errors import PredictError
from function.limits import LIMITS
from function.server.app import create_app
from function.server.graceful import Server
from function.server.lobby import Lobby
from function.server.uvicorn_protocol import Protocol

THREAD_STACK = 1024 * 1024  # bytes; the default, 8 MiB a thread, counts towards RLIMIT_DATA though hardly any is used
MOST_FILES = 65_536  # each connection takes a few KB: beyond this, memory and not descriptors is the limit
SPARE_FILES = 64  # descriptors for the model's files and the cache's sockets


def main() -> None:
    """Serves until SIGTERM or SIGINT; what has been accepted then is finished first, and the exit status is 0.

    1 and one line where a setting or the default model is not in order, 3 where the model cannot be loaded or the port
    cannot be had.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    threading.stack_size(THREAD_STACK)
    try:
        app = create_app()
        app.check()
    except PredictError as error:
        sys.exit(f"error: {error.message}")
    limit_data()
    files = raise_file_limit()
    backlog = min(2048, files // 4)  # uvloop accepts so many in one go, before we can close any
    config = uvicorn.Config(
        app,
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        backlog=backlog,
        timeout_graceful_shutdown=30,
    )
    server = Server(config, Lobby(max(16, files - backlog - SPARE_FILES), app.metrics.refused))
    server.run()
    if not server.started:
        sys.exit(1)


def limit_data() -> None:
    """Where memory is limited, an allocation beyond 7/8 of it fails, and its request with it.

    Else the kernel would end the process, with all requests that are in it.
    """
    if LIMITS.memory < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = LIMITS.memory // 8 * 7
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def raise_file_limit() -> int:
    """Takes as many descriptors as the process may have, MOST_FILES at most; returns their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


if __name__ == "__main__":
    main()
