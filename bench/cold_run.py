"""One cold start as it was seen: processes that are spawned and ended, their clocks and their memory."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What a cold start is made of, in this order. The last three are for what says no more about itself: `start` is
# process, library and model of the Go peer, `request` all of a handler's work, `rest` the way of the answer,
# base64 and whatever no clock is set on.
PHASES = (
    "emulator",
    "interpreter",
    "awslambdaric",
    "imports",
    "event",
    "load",
    "decode",
    "infer",
    "encode",
    "start",
    "request",
    "rest",
)


class NoAnswerError(Exception):
    """A system that ended before it answered."""


@dataclass
class Run:
    """One cold start. `phases` in ms add up to `total_ms`; `files` are those that the process is known to have used,
    with the bytes of each that it had mapped and touched (Rss)."""

    total_ms: float
    phases: dict[str, float]
    peak_rss_mb: float
    files: dict[Path, int]


@dataclass(frozen=True)
class Process:
    """A process that runs; `output` is its standard output."""

    pid: int
    output: IO[bytes]

    def line(self, start: str) -> bytes:
        """The rest of the next line that begins so; others are a log. NoAnswerError when the process ends instead."""
        while line := self.output.readline():
            if line.startswith(start.encode()):
                return line[len(start) :]
        raise NoAnswerError(f"process {self.pid} ended without a line {start!r}; what it said is above")


@contextmanager
def spawned(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Process]:
    """A process that is asked to end by the end of its input and by SIGTERM, and is killed when it does not."""
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Process(process.pid, process.stdout)
        finally:
            process.stdin.close()
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def made(start: int, end: int, phases: Mapping[str, float], memory: Memory) -> Run:
    """A run from clock readings in ns; `rest` is what the phases leave."""
    total = (end - start) / 1e6
    return Run(total, {**phases, "rest": max(0.0, total - sum(phases.values()))}, memory.peak_rss_mb, memory.mapped)


def between(names: Sequence[str], stamps: Sequence[int]) -> dict[str, float]:
    """Milliseconds from each clock reading in ns to the next, by name."""
    return {name: (after - before) / 1e6 for name, (before, after) in zip(names, pairwise(stamps), strict=True)}


def detailed(phases: Mapping[str, float], headers: Mapping[str, str]) -> dict[str, float]:
    """The phases with `request` replaced by what the handler reports of itself (Server-Timing), if it does."""
    found = re.findall(r"(\w+);dur=([\d.]+)", headers.get("server-timing", ""))
    reported = {name: float(value) for name, value in found if name in PHASES}  # init is in `imports`
    if not reported:
        return dict(phases)
    return {name: value for name, value in phases.items() if name != "request"} | reported


@dataclass(frozen=True)
class Memory:
    """What /proc says of a living process."""

    peak_rss_mb: float
    mapped: dict[Path, int]


def memory(pid: int) -> Memory:
    """VmHWM, as ru_maxrss would count what the parent had before exec; and the Rss of mapped files (proc(5), smaps)."""
    (peak,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    mapped: defaultdict[Path, int] = defaultdict(int)
    path = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        columns = line.split(maxsplit=5)
        if not columns[0].endswith(":"):  # the first line of a mapping: addresses, mode, offset, device, inode, path
            path = Path(columns[5]) if len(columns) == 6 and columns[5].startswith("/") else None
        elif path and columns[0] == "Rss:":
            mapped[path] += int(columns[1]) * 1024
    return Memory(int(peak.split()[1]) * 1024 / 1e6, mapped)
