"""`make serve`: the ASGI app under uvicorn, in one process."""

from __future__ import annotations

import argparse
import logging
import os
import sys

import uvicorn

from function.app import App
from function.errors import PredictError
from function.server.uvicorn_protocol import Protocol
from function.settings import Settings


def main() -> None:
    """Serves until SIGTERM or SIGINT; what runs then is finished first.

    Ends with status 1 and one line when a setting or the default model's folder is not in order, with uvicorn's 3 when
    the model cannot be loaded or the port cannot be had.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    try:
        settings = Settings(os.environ)
        App(settings).inference.metadata({})
    except PredictError as error:
        sys.exit(f"error: {error.message}")
    logging.getLogger("uvicorn.error").addFilter(_in_one_line)
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


def _in_one_line(record: logging.LogRecord) -> bool:
    """A model that cannot be loaded is one line of the log; Starlette hands uvicorn the whole traceback."""
    _, found, message = str(record.msg).rpartition(f"\n{PredictError.__module__}.{PredictError.__name__}: ")
    if found:
        record.msg = message.rstrip()
    return True


if __name__ == "__main__":
    main()
