"""`make serve`: the ASGI app under uvicorn, in one process."""

from __future__ import annotations

import argparse

import uvicorn

from function.server.uvicorn_protocol import Protocol


def main() -> None:
    """Serves until SIGTERM or SIGINT; what runs then is finished first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    uvicorn.run(
        "function.asgi:app",
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        access_log=False,
        timeout_graceful_shutdown=30,
    )


if __name__ == "__main__":
    main()
