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
WAIT_S = 10.0  # that a request waits for memory which others use
_CGROUPS = "/proc/self/cgroup"


class Limits:
    """Bytes: `memory` is all that the process may have, `largest_body` one body, also after inflating, `bodies` all
    that a server receives or has received at a time, those of its large ones `turns` at most, and `work` what parsed
    JSON and decoded pictures need at a time. A request that needs no more than its `share` of that is not counted;
    `budget` is what is left beside such requests. `copies` is for inflated texts and other copies of a body.

    A sixteenth of the memory for a body (less where more than two requests are worked on at a time), an eighth for
    the bodies, an eighth for copies of them, three eighths for work, a quarter for the interpreter, the model and its
    activations. An eighth is left.
    """

    __slots__ = ("bodies", "budget", "copies", "largest_body", "memory", "share", "turns", "work")

    def __init__(self) -> None:
        self._share_out(16 * LARGEST_WORK, LARGEST_BODY, 1)

    def configure(self, settings: Settings, workers: int = 1) -> None:
        """Applies the rule to the memory that there is, for `workers` requests that are worked on at a time."""
        memory = settings.memory_limit_bytes or _memory_limit(settings.function_memory_mb)
        body = settings.max_body_bytes or min(LARGEST_BODY, memory // (8 * max(2, workers)))
        self._share_out(memory, body, workers)

    def _share_out(self, memory: int, body: int, workers: int) -> None:
        self.memory, self.largest_body = memory, body
        eighth = min(LARGEST_BODIES, memory // 8)
        self.bodies, self.copies = max(body, eighth), Budget(max(2 * body, eighth))
        self.turns = max(body, self.bodies // 4 * 3)
        self.work = min(LARGEST_WORK, memory // 8 * 3)
        self.share = self.work // (4 * workers)
        self.budget = Budget(self.work - (workers - 1) * self.share)

    def hold(self, needed: int, what: str, mend: str) -> Hold:
        """Takes `needed` bytes for work, waiting until others have given enough back.

        PredictError PAYLOAD_TOO_LARGE when there is never so much, UNAVAILABLE after WAIT_S. `what` begins the
        message, and `mend` tells what to send instead: "this picture", "send a smaller one".
        """
        if needed <= self.share:
            return Hold(self.budget, 0)
        if needed > self.budget.capacity:
            raise PredictError(
                "PAYLOAD_TOO_LARGE",
                f"{what} would take {needed // MIB} MiB of memory, and {self.budget.capacity // MIB} MiB are there for "
                f"it; {mend}, or give the function more memory",
            )
        return _taken(self.budget, needed, what)

    def hold_copies(self, length: int) -> Hold:
        """Takes what the copies of a body of `length` bytes, also after inflating, may need until it is answered.

        There are two at a time at most, such as an inflated form and the picture cut out of it. PredictError
        UNAVAILABLE after WAIT_S.
        """
        return _taken(self.copies, min(2 * length, self.copies.capacity), "this body")


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


def _taken(budget: Budget, amount: int, what: str) -> Hold:
    if not budget.take(amount, WAIT_S):
        message = f"{what} waited {WAIT_S:.0f} s for memory that others use; try it again"
        raise PredictError("UNAVAILABLE", message, {"Retry-After": "1"})
    return Hold(budget, amount)


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
