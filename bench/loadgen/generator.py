"""Builds the load generator, runs it and reads what it measured."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.gobuild import go_binary

if TYPE_CHECKING:
    from bench.payloads import Payload


class LoadError(RuntimeError):
    """A load that does not count; the message says what went wrong."""


def build() -> Path | None:
    """The load generator's executable; None, with the reason printed, where it cannot be built."""
    return go_binary(Path(__file__).parent, "loadgen")


@dataclass(frozen=True)
class Report:
    """What one run of the generator found: answers per second, latencies in ms, its own CPU time in seconds."""

    requests: int
    rps: float
    latency_ms: dict[str, float]  # p50, p90, p99, min
    cpu_seconds: float


class Generator:
    """The compiled load generator; `folder` takes the bodies as files."""

    def __init__(self, folder: Path) -> None:
        """LoadError where it cannot be built; the reason is printed."""
        binary = build()
        if binary is None:
            raise LoadError("the load generator cannot be built; the reason is printed above")
        self._binary, self._folder = binary, folder

    def run(self, url: str, payload: Payload, clients: int, *, requests: int = 0, seconds: float = 0) -> Report:
        """`clients` connections send the payload's bodies in turns until there were so many requests, or for so long.

        LoadError unless every answer has status 200: the time of a refusal must not count.
        """
        argv = [str(self._binary), "-url", url + payload.path, "-clients", str(clients)]
        for number, content in enumerate((payload.body, *payload.others)):
            body = self._folder / f"{payload.name}.{number}.body"
            if not body.exists():
                body.write_bytes(content)
            argv += ["-body", str(body)]
        for name, value in payload.headers.items():
            argv += ["-content-type", value] if name == "content-type" else ["-header", f"{name}: {value}"]
        argv += ["-requests", str(requests)] if requests else ["-seconds", str(seconds)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if done.returncode:
            raise LoadError(f"the load generator failed: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        if found["errors"] or found["p50_ms"] is None:
            raise LoadError(
                f"{url} with {clients} clients: not every one of {found['requests']} requests was answered 200; "
                f"the others: {found['errors']}"
            )
        latency = {name: found[f"{name}_ms"] for name in ("p50", "p90", "p99", "min")}
        return Report(found["requests"], found["rps"], latency, found["cpu_seconds"])
