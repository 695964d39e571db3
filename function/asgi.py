"""The same core as an ASGI app for any server: `function.asgi:app`; Mangum(app, lifespan="off") runs it on Lambda."""

from __future__ import annotations

from function.server.app import create_app

app = create_app()

__all__ = ["app"]
