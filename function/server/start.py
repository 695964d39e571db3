"""What a server does before it can speak: its port, the core, and the default model on its way."""

from __future__ import annotations

import socket

from function.app import App
from function.concurrency import Background
from function.native import cpu
from function.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def options(arguments: list[str]) -> tuple[str, int]:
    """Host and port; ends the process on --help and on what is none."""
    pairs = {"--host": "127.0.0.1", "--port": "8080"} | dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 == 0 and len(pairs) == 2 and pairs["--port"].isdecimal():
        return pairs["--host"], int(pairs["--port"])
    import argparse  # 7 ms, for whoever spells it otherwise

    parser = argparse.ArgumentParser(prog="python -m function.server", description="The function as an HTTP server.")
    parser.add_argument("--host", default=pairs["--host"], help="0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=8080, help="0: any free one")
    found = parser.parse_args(arguments)
    return found.host, found.port


def listener(host: str, port: int, backlog: int) -> socket.socket:
    """A socket on which clients may connect at once and wait until the server reads; OSError when it cannot be had."""
    # As bytes: a str would be encoded by IDNA's rules, whose module costs 1 ms.
    (family, *_, address), *_ = socket.getaddrinfo(
        host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind(address)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made


def settings(environ: Mapping[str, str]) -> Settings:
    """Many requests at once: each runs on one thread, and there is one such thread for each CPU."""
    return Settings({"INTRA_OP_THREADS": "1", **environ})


def core(of: Settings) -> App:
    """The core over these settings, with a thread for each CPU."""
    return App(of, cpu.count(of.function_memory_mb))


def load(app: App) -> Background:
    """Loads and warms the default model on a thread; `result` raises PredictError when that does not work."""
    return Background(lambda: app.inference.models.warm(app.settings.model_name))
