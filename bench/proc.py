"""What Linux says of living processes: their memory and their CPU time, summed over the processes of a server."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TICKS = os.sysconf("SC_CLK_TCK")


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
