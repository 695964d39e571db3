"""AWS's Lambda Web Adapter, built from its crate, in front of FastAPI."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.gobuild import CACHE
from bench.peers.launch import HERE, Command, environment

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "1.0.0-rc1"  # the newest that is published as a crate
CACHED = CACHE / "lambda_web_adapter" / VERSION / "bin" / "lambda-adapter"


def build() -> Path | None:
    """The adapter's executable, from the cache if it is there; None, with the reason printed, where there is none.

    Building it takes a minute or two, once.
    """
    if CACHED.exists():
        return CACHED
    folder = CACHED.parents[1]
    cargo = shutil.which("cargo")
    if cargo is None:
        print("lwa-fastapi-rie is left out: no `cargo` on PATH; install Rust (rustup.rs)")
        return None
    print("building AWS's Lambda Web Adapter, once ...")
    argv = [cargo, "install", "lambda_web_adapter", "--version", f"={VERSION}", "--locked", "--root", str(folder)]
    environ = {**os.environ, "CARGO_TARGET_DIR": str(folder / "target")}
    done = subprocess.run(argv, env=environ, check=False, capture_output=True, text=True)
    shutil.rmtree(folder / "target", ignore_errors=True)
    if done.returncode != 0:
        print(f"lwa-fastapi-rie is left out: cargo could not build the adapter:\n{done.stderr[-2000:]}")
        return None
    return CACHED


def command(binary: Path, model: Path, port: int) -> Command:
    """What runs under a runtime API: the server on loopback port `port`, and the adapter beside it.

    On Lambda the adapter is an extension, which is started just so.
    """
    python = environment("fastapi_pool") / "bin" / "python"  # the same packages
    serve = [str(python), "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
    argv = ["/bin/sh", "-c", f"{shlex.join(serve)} & exec {shlex.quote(str(binary))}"]
    return argv, {
        "PYTHONPATH": str(HERE / "fastapi_lwa"),
        "MODEL_NAME": model.parent.name,
        "MODEL_PATH": str(model.resolve()),
        "ORT_DISABLE_TELEMETRY": "1",
        "AWS_LWA_PORT": str(port),
        "AWS_LWA_READINESS_CHECK_PATH": "/health",
    }
