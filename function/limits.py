"""How much memory the process may have, and what follows: the largest body, and a budget for what requests need.

docs/operations.md, "Memory", has the rule in words.
"""

from __future__ import annotations

import os

from function.concurrency import Budget
from function.errors import PredictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.settings import Settings

MIB = 1024 * 1024
LARGEST_BODY = 64 * MIB
LARGEST_BODIES = 256 * MIB
LARGEST_WORK = 1024 * MIB
UNCOUNTED = 4 * MIB  # bytes; what needs less than this costs less than the counting
WAIT_S = 10.0  # that a request waits for memory which others use
_CGROUPS = "/proc/self/cgroup"


class Limits:
    """Bytes: `memory` is all that the process may have, `largest_body` one body, also after inflating, `bodies` all
    that a server receives at a time, and `work` what parsed JSON, decoded pictures and answers need at a time; what
    needs less than `share` at its worst is not counted.

    A sixteenth of the memory for a body (less where more than two requests are worked on at a time), an eighth for
    the bodies being received, three eighths for work; the rest is for the interpreter, the model and its activations.
    """

    __slots__ = ("bodies", "budget", "largest_body", "memory", "share", "work")

    def __init__(self) -> None:
        self.memory, self.largest_body = 16 * LARGEST_WORK, LARGEST_BODY
        self.bodies, self.work = LARGEST_BODIES, LARGEST_WORK
        self.budget, self.share = Budget(self.work), self.work // 4

    def configure(self, settings: Settings, workers: int = 1) -> None:
        """Applies the rule to the memory that there is, for `workers` requests that are worked on at a time."""
        self.memory = settings.memory_limit_bytes or _memory_limit(settings.function_memory_mb)
        self.largest_body = settings.max_body_bytes or min(LARGEST_BODY, self.memory // (8 * max(2, workers)))
        self.bodies = max(self.largest_body, min(LARGEST_BODIES, self.memory // 8))
        self.work = min(LARGEST_WORK, self.memory // 8 * 3)
        self.budget, self.share = Budget(self.work), self.work // (4 * workers)

    def hold(self, needed: int, what: str) -> Hold:
        """Takes `needed` bytes of the work budget, waiting until others have given enough back.

        PredictError PAYLOAD_TOO_LARGE when there is never so much, UNAVAILABLE after WAIT_S. `what` begins the
        message: "this picture".
        """
        if needed < UNCOUNTED:
            return Hold(self.budget, 0)
        if needed > self.work:
            raise PredictError(
                "PAYLOAD_TOO_LARGE",
                f"{what} would take {needed // MIB} MiB of memory, and {self.work // MIB} MiB are there for it; send a "
                "smaller one, or tensors as binary data, or give the function more memory",
            )
        if not self.budget.take(needed, WAIT_S):
            message = f"{what} waited {WAIT_S:.0f} s for memory that others use; try it again"
            raise PredictError("UNAVAILABLE", message, {"Retry-After": "1"})
        return Hold(self.budget, needed)


class Hold:
    """Bytes of a budget, until `release` or the end of a `with` block."""

    __slots__ = ("_amount", "_budget")

    def __init__(self, budget: Budget, amount: int) -> None:
        self._budget, self._amount = budget, amount

    def release(self) -> None:
        """May be called more than once."""
        amount, self._amount = self._amount, 0
        if amount:
            self._budget.give_back(amount)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.release()


def _memory_limit(function_memory_mb: int) -> int:
    """Lambda's figure, else the cgroup's limit, else all memory of the machine."""
    if function_memory_mb:
        return function_memory_mb * MIB
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _cgroup_files():
        try:
            with open(path, "rb") as file:
                found = min(found, int(file.read()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return found


def _cgroup_files() -> list[str]:
    """Where a memory limit may stand: a container sees its own cgroup as the root, a service those above it as well.

    Lines of /proc/self/cgroup: cgroups(7).
    """
    files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    try:
        with open(_CGROUPS, "rb") as file:
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return files
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root, name = "/sys/fs/cgroup", "memory.max"
        if controllers:  # version 1
            if "memory" not in controllers.split(","):
                continue
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        while path.strip("/"):
            files.append(f"{root}{path}/{name}")
            path = os.path.dirname(path)
    return files


LIMITS = Limits()  # of this process; the app configures it
