"""A limit of memory for a process: a cgroup (version 1 or 2) where one can be made, else RLIMIT_DATA.

A cgroup needs root and a writable /sys/fs/cgroup; in it a process that takes too much is killed. The process sees it as
one in a container does, at the root of /sys/fs/cgroup, or with `container=False` as a service of systemd does, by the
path in /proc/self/cgroup.

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
_AS_ROOT = ("unshare", "--mount", "--cgroup", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')


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
def limited(size: int, *, container: bool = True) -> Iterator[MemoryLimit]:
    """A limit of `size` bytes."""
    found = None if os.environ.get("HOSTILE_NO_CGROUP") else _new_group(size)
    if found is None:
        prefix = ("prlimit", f"--data={size}:{size}")
        yield MemoryLimit("RLIMIT_DATA", prefix, {"MEMORY_LIMIT_BYTES": str(size)})
        return
    mount, group = found
    enter = ("sh", "-c", _ENTER, str(group))
    seen_as = (*_AS_ROOT, str(group), str(mount)) if container else ()
    try:
        yield MemoryLimit(f"cgroup {group}", (*enter, *seen_as), {}, group)
    finally:
        for _ in range(100):  # a process that has just ended is still counted for a moment
            with suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


def _new_group(size: int) -> tuple[Path, Path] | None:
    """Where cgroups are mounted, and a new one with this limit below our own; None where that is not allowed."""
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
                    return mount, group
            except OSError:
                pass
            with suppress(OSError):
                group.rmdir()
    return None
