"""One cold start as it was seen: its clocks, by phase, and the memory of its process."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bench import proc, servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What a cold start is made of, in this order. The last three are for what says no more about itself: `start` is
# a plain server's, until it takes a connection, `request` all of a handler's work, `rest` the way of the answer,
# base64 and whatever no clock is set on.
PHASES = (
    "emulator",
    "interpreter",
    "awslambdaric",
    "client",
    "imports",
    "event",
    "load",
    "decode",
    "features",
    "infer",
    "encode",
    "start",
    "request",
    "rest",
)


@dataclass
class Run:
    """One cold start. `phases` in ms add up to `total_ms`; `files` are those that the process is known to have used,
    with the bytes of each that it had mapped and touched (Rss)."""

    total_ms: float
    phases: dict[str, float]
    peak_rss_mb: float
    files: dict[Path, int]


@dataclass(frozen=True)
class Memory:
    """The process's peak, and the Rss of the files that it has mapped (proc(5), smaps)."""

    peak_rss_mb: float
    mapped: dict[Path, int]


def made(start: int, end: int, phases: Mapping[str, float], memory: Memory) -> Run:
    """A run from clock readings in ns; `rest` is what the phases leave."""
    total = (end - start) / 1e6
    return Run(total, {**phases, "rest": max(0.0, total - sum(phases.values()))}, memory.peak_rss_mb, memory.mapped)


def between(names: Sequence[str], stamps: Sequence[int]) -> dict[str, float]:
    """Milliseconds from each clock reading in ns to the next, by name."""
    return {name: (after - before) / 1e6 for name, (before, after) in zip(names, pairwise(stamps), strict=True)}


def detailed(phases: Mapping[str, float], headers: Mapping[str, str]) -> dict[str, float]:
    """The phases with `request` replaced by what the handler reports of itself (Server-Timing), if it does."""
    told = servers.timing(headers)
    reported = {name: value for name, value in told.items() if name in PHASES}  # init is in `imports`
    if not reported:
        return dict(phases)
    return {name: value for name, value in phases.items() if name != "request"} | reported


def memory(pid: int) -> Memory:
    """Of a living process; its peak is VmHWM, as ru_maxrss would count what the parent had before exec."""
    mapped: defaultdict[Path, int] = defaultdict(int)
    path = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        columns = line.split(maxsplit=5)
        if not columns[0].endswith(":"):  # the first line of a mapping: addresses, mode, offset, device, inode, path
            path = Path(columns[5]) if len(columns) == 6 and columns[5].startswith("/") else None
        elif path and columns[0] == "Rss:":
            mapped[path] += int(columns[1]) * 1024
    return Memory(proc.memory([pid]).peak_rss, mapped)
