"""Whether processes grow: memory by a share, descriptors and threads not at all."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.hostile.checks import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.hostile.server_process import Usage

SETTLE_SECONDS = 10.0  # in which closed connections' descriptors go
LATE_THREADS = os.cpu_count() or 1  # the server begins a worker thread when it first needs one more, by chance late


class Drift:
    """Samples by case number. The base is the most that was seen up to `warm_up`."""

    def __init__(self, warm_up: int, growth: float) -> None:
        self.warm_up, self.growth = warm_up, growth
        self._base: dict[str, list[Usage]] = {}
        self._last: dict[str, list[Usage]] = {}

    def sample(self, number: int, usages: Mapping[str, Usage]) -> None:
        for name, usage in usages.items():
            group = self._base if number <= self.warm_up else self._last
            group.setdefault(name, []).append(usage)

    def shown(self) -> str:
        """The memory of each process now, and by how much it has grown since the warm-up."""
        parts = []
        for name, base in self._base.items():
            last = self._last.get(name)
            now = (last or base)[-1].rss / 1e6
            parts.append(f"{name} {now:.1f} MB ({100 * self._grown(name):+.2f} %)" if last else f"{name} {now:.1f} MB")
        return ", ".join(parts) or "nothing sampled"

    def _grown(self, name: str) -> float:
        """By the median of the last five samples, so that one in the middle of a picture does not decide."""
        most = max(usage.rss for usage in self._base[name])
        last = sorted(usage.rss for usage in self._last[name][-5:])
        return last[len(last) // 2] / most - 1

    def findings(self, look: Callable[[], Mapping[str, Usage]]) -> list[Finding]:
        """What has grown; none when the run was too short to tell. `look` gives the usage at rest."""
        found = []
        for name in [name for name in self._last if name in self._base]:
            if self._grown(name) > self.growth:
                found.append(
                    Finding(f"memory of {name}", f"{self.shown()}; at most {100 * self.growth:g} % was expected")
                )
            most_open = max(usage.descriptors for usage in self._base[name])
            most_threads = max(usage.threads for usage in self._base[name]) + LATE_THREADS
            deadline = time.monotonic() + SETTLE_SECONDS
            while (now := look()[name]) and time.monotonic() < deadline:
                if now.descriptors <= most_open and now.threads <= most_threads:
                    break
                time.sleep(0.1)
            if now.descriptors > most_open:
                found.append(Finding(f"descriptors of {name}", f"{most_open} up to the warm-up, {now.descriptors} now"))
            if now.threads > most_threads:
                found.append(
                    Finding(f"threads of {name}", f"at most {most_threads} were expected, {now.threads} are there")
                )
        return found
