"""A limit of memory for a process: a cgroup (version 1 or 2) where one can be made, else RLIMIT_DATA.

A cgroup needs root and a writable /sys/fs/cgroup; in it a process that takes too much is killed, as in a container.
RLIMIT_DATA bounds the private writable memory of a process: what is beyond cannot be allocated. That is another failure
than being killed, but a server that keeps to its budget meets neither. It is told of this limit by MEMORY_LIMIT_BYTES,
since it need not look at it by itself. HOSTILE_NO_CGROUP=1 takes this way even where there could be a cgroup.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/sys/fs/cgroup")
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True)
class MemoryLimit:
    """`prefix` is the command that limits itself and becomes the next one; `settings` are for the server."""

    how: str
    prefix: tuple[str, ...]
    settings: dict[str, str]
    group: Path | None = None

    def killed(self) -> int:
        """How many processes the kernel has killed for it; 0 where nothing is killed."""
        if self.group is None:
            return 0
        name = "memory.events" if (self.group / "memory.events").exists() else "memory.oom_control"
        words = dict(line.split() for line in (self.group / name).read_text().splitlines())
        return int(words.get("oom_kill", 0))


@contextmanager
def limited(size: int) -> Iterator[MemoryLimit]:
    """A limit of `size` bytes."""
    group = None if os.environ.get("HOSTILE_NO_CGROUP") else _new_group(size)
    if group is None:
        prefix = ("prlimit", f"--data={size}:{size}")
        yield MemoryLimit("RLIMIT_DATA", prefix, {"MEMORY_LIMIT_BYTES": str(size)})
        return
    try:
        yield MemoryLimit(f"cgroup {group}", ("sh", "-c", _ENTER, str(group)), {}, group)
    finally:
        for _ in range(100):  # a process that has just ended is still counted for a moment
            with suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


def _new_group(size: int) -> Path | None:
    """A cgroup of its own with this limit, beside or below the one of this process; None where that is not allowed."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    homes = [(ROOT / "memory", path, "memory.limit_in_bytes") for _, kinds, path in lines if kinds == "memory"]
    homes += [(ROOT, path, "memory.max") for _, kinds, path in lines if not kinds]
    for mount, path, file in homes:
        for parent in (mount / path.strip("/"), mount):
            group = parent / f"hostile-{os.getpid()}-{time.monotonic_ns()}"
            try:
                group.mkdir()
            except OSError:
                continue
            try:
                # In a folder that is no cgroup, or one without the memory controller, this file is not there.
                if (group / file).exists():
                    (group / file).write_text(str(size))
                    with suppress(OSError):  # where the kernel counts swap
                        (group / "memory.swap.max").write_text("0")
                    return group
            except OSError:
                pass
            with suppress(OSError):
                group.rmdir()
    return None
