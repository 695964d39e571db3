"""Processes: spawned and ended, pinned to CPUs; their memory and CPU time, summed over the processes of a server."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")


class NoAnswerError(RuntimeError):
    """A system that ended before it answered."""


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


@dataclass(frozen=True)
class Memory:
    """MB (10^6 bytes), each summed over the processes.

    `pss` counts a page that several processes share in parts, `anon` is the part of it that no file stands behind.
    `peak_rss` adds up each process's own peak, which need not have been at the same time.
    """

    rss: float
    pss: float
    anon: float
    peak_rss: float


def memory(pids: Iterable[int]) -> Memory:
    """The processes' memory now (proc(5): smaps_rollup and status)."""
    sums = dict.fromkeys(("Rss", "Pss", "Pss_Anon", "VmHWM"), 0.0)
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text() + Path(f"/proc/{pid}/status").read_text()
        for name, kibibytes in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE):
            if name in sums:
                sums[name] += int(kibibytes) * 1024 / 1e6
    return Memory(*sums.values())


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that the processes have used so far, in user and kernel mode; to 1/100 s."""
    ticks = 0
    for pid in pids:
        # The command's name may hold spaces and brackets; the columns start after the last one.
        columns = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        ticks += int(columns[11]) + int(columns[12])
    return ticks / _TICKS


@contextmanager
def pinned(cpus: Iterable[int]) -> Iterator[None]:
    """Processes that are started meanwhile run on these CPUs only, for good."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
