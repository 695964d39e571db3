"""Starts the FastAPI peer under uvicorn on a loopback port."""

# Worker processes import this file too, so what only the server needs is imported inside main().
from __future__ import annotations

import argparse
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    """Load the model, then serve until SIGTERM; the address is printed when requests are accepted."""
    import uvicorn

    from bench.peers.fastapi_pool.app import create_app

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="ONNX file")
    parser.add_argument("--name", required=True, help="name of the model in the URL")
    parser.add_argument("--workers", type=int, default=4, help="worker processes")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 lets the kernel choose")
    options = parser.parse_args()

    listener = socket.create_server(("127.0.0.1", options.port), backlog=128)
    app = create_app(options.model, options.name, options.workers)
    # After its own shutdown uvicorn raises the signal anew; leave by the door, so that the pool cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    # Connections queue in the listener until start-up ends, so the line may go out at once.
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
