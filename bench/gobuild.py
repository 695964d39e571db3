"""Builds the benchmarks' Go programs, once for each state of their source."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "peers"


def go_binary(source: Path, name: str) -> Path | None:
    """Build the Go module in folder `source` and return the executable `name`, from the cache if it is there.

    Prints the reason and returns None where it cannot be built.
    """
    go = shutil.which("go")
    if go is None:
        print(f"{name} is left out: no `go` on PATH; install Go 1.26 or newer (go.dev/dl)")
        return None
    version = subprocess.run([go, "version"], check=True, capture_output=True, text=True).stdout
    digest = hashlib.sha256(version.encode())
    for path in sources(source):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    binary = CACHE / source.name / digest.hexdigest()[:16] / name
    if binary.exists():
        return binary
    environ = dict(os.environ)
    if "go1.26" in version:
        # encoding/json of Go 1.27 on: the same API over a faster decoder, an experiment in 1.26. A Go rival
        # without it would be that of a year ago.
        environ["GOEXPERIMENT"] = "jsonv2"
    partial = binary.with_suffix(f".{os.getpid()}")
    # The tag is AWS's advice for its runtime client: without the RPC mode that no current runtime has.
    options = ["-trimpath", "-buildvcs=false", "-tags=lambda.norpc", "-ldflags=-s -w"]
    command = [go, "build", *options, "-o", str(partial), "."]
    build = subprocess.run(command, cwd=source, env=environ, check=False, capture_output=True, text=True)
    if build.returncode != 0:
        print(f"{name} is left out: `go build` failed in {source} ({version.strip()}):\n{build.stderr}")
        return None
    partial.rename(binary)
    return binary


def sources(module: Path) -> list[Path]:
    """The module's sources, and those of the modules beside it that its go.mod has in the place of published ones."""
    beside = re.findall(r"^replace \S+ => (\.\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    folders = [module, *(module / each for each in beside)]
    return sorted(path for folder in folders for kind in ("*.go", "go.*") for path in folder.rglob(kind))
