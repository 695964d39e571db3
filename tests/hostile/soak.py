"""A long run of mixed traffic, good and hostile, and the server's memory while it goes on.

    python -m tests.hostile.soak --requests 300000 [--seconds 3600] [--cache] [--out .cache/hostile/soak]

Writes OUT.csv (seconds, requests, resident MB, descriptors, threads) and OUT.svg, the memory over the requests. Ends
with 1 when memory, descriptors or threads drift after the warm-up, the first third of the run, or when an answer is
missing or a failure of the server.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.hostile import mutate, seeds, server_process
from tests.hostile.cases import CASES
from tests.hostile.curve import curve
from tests.hostile.entries import HttpEntry, settings_of_both
from tests.hostile.raw_http import ClosedError, Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.hostile.case import Case
    from tests.hostile.server_process import ServerProcess

CLIENTS = 6
SAMPLE_SECONDS = 0.5
GOOD, RAW = 0.6, 0.02  # shares: valid requests, rows of the table of HTTP cases; the rest are mutations
INFERENCE = 0.1  # of the good ones are whole tensors or pictures
GROWTH = 0.02  # of memory, between the second third of the run and the last
FAILURES = (500, 502, 504)  # 501 and 505 are right answers to some rows, 503 to whoever comes too often
HEAVY = 100_000  # bytes: rows of the table that send more come only now and then
NO_SERVER = "http://127.0.0.1:9"  # no object is asked for here


class Sample(NamedTuple):
    """One look at the process."""

    seconds: float
    requests: int
    rss_mb: float
    descriptors: int
    threads: int


@dataclass
class Soak:
    """What has been asked and seen so far. The clients and the sampler share it."""

    limit: int
    deadline: float
    begun: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> bool:
        """Whether one more request is to be sent."""
        with self.lock:
            self.begun += 1
            return self.begun <= self.limit and time.monotonic() < self.deadline and len(self.wrong) < 10

    def note(self, status: int, sent: str) -> None:
        with self.lock:
            self.statuses[status] += 1
            if status in FAILURES:
                self.wrong.append(f"{status} to {sent}")


def client(soak: Soak, port: int, generator: random.Random) -> None:
    """One client on a kept connection, until the run is over."""
    http = HttpEntry(port)
    light = [case for case in CASES if sum(len(step) for step in case.send if isinstance(step, bytes)) < HEAVY]
    while soak.next():
        roll = generator.random()
        if roll < RAW:
            raw(soak, port, generator.choice(light if generator.random() < 0.95 else CASES))
            continue
        if roll < RAW + GOOD:
            kinds = seeds.inferences() + seeds.pictures() if generator.random() < INFERENCE else seeds.cheap()
            sent = generator.choice(kinds)
        else:
            sent = mutate.request(generator)
        http.send(sent)
        try:
            soak.note(http.receive().status, f"{sent.method} {sent.target[:100]} {sent.body[:100]!r}")
        except ClosedError as error:
            with soak.lock:
                soak.wrong.append(f"{error}: {sent.method} {sent.target[:100]} {sent.body[:100]!r}")
    http.close()


def raw(soak: Soak, port: int, case: Case) -> None:
    """The bytes of a row, and whatever is answered within a moment; what it should be is for the table's own test."""
    with Connection(port, timeout=0.2) as connection, suppress(AssertionError):
        for step in case.send:
            if isinstance(step, bytes) and not connection.send(step):
                break
        for _ in case.want:
            soak.note(connection.answer(head_only=case.head_only).status, case.name)


def sample(soak: Soak, server: ServerProcess, stop: threading.Event) -> None:
    """Looks at the server every SAMPLE_SECONDS."""
    started = time.monotonic()
    while not stop.wait(SAMPLE_SECONDS) and server.alive():
        usage = server.usage()
        seconds = round(time.monotonic() - started, 1)
        asked = min(soak.begun, soak.limit)
        soak.samples.append(Sample(seconds, asked, round(usage.rss / 1e6, 2), usage.descriptors, usage.threads))


def run(requests: int, seconds: float, seed: int, *, cache: bool) -> Soak:
    """The traffic, until so many requests have been sent or so many seconds are over."""
    soak = Soak(requests, time.monotonic() + seconds)
    stop = threading.Event()
    with server_process.serve(settings_of_both(NO_SERVER, cache=cache)) as server:
        with ThreadPoolExecutor(CLIENTS + 1) as threads:
            watching = threads.submit(sample, soak, server, stop)
            asking = [threads.submit(client, soak, server.port, random.Random(f"{seed}-{n}")) for n in range(CLIENTS)]
            try:
                for done in asking:
                    done.result()
            finally:
                stop.set()
            watching.result()
        if not server.alive():
            soak.wrong.append(f"the server has ended with {server.process.poll()}: {server.words()}")
    return soak


def verdict(samples: Sequence[Sample], growth: float) -> list[str]:
    """What drifts: the last third of the run beside the second. Nothing when it was too short to tell."""
    third = len(samples) // 3
    if third < 5:
        return []
    before, after = samples[third : 2 * third], samples[2 * third :]
    middle = [statistics.median(row.rss_mb for row in part) for part in (before, after)]
    found = []
    if middle[1] > middle[0] * (1 + growth):
        found.append(f"memory: {middle[0]:.1f} MB in the second third, {middle[1]:.1f} MB in the last")
    # Connections come and go, so it is the fewest that show what is never given back.
    if min(row.descriptors for row in after) > min(row.descriptors for row in before) + CLIENTS:
        found.append("descriptors are not given back")
    if max(row.threads for row in after) > max(row.threads for row in before):
        found.append("there are more threads than before")
    return found


def write(samples: Sequence[Sample], out: Path) -> None:
    """OUT.csv and OUT.svg."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Sample._fields)
        writer.writerows(samples)
    points = [(float(row.requests), row.rss_mb) for row in samples]
    out.with_suffix(".svg").write_text(curve("Memory under mixed traffic", "requests", "MB", {"resident": points}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300_000)
    parser.add_argument("--seconds", type=float, default=24 * 3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", action="store_true", help="with the result cache on")
    parser.add_argument("--growth", type=float, default=GROWTH, help="share by which memory may grow")
    parser.add_argument("--out", type=Path, default=server_process.CACHE / "soak")
    given = parser.parse_args()
    soak = run(given.requests, given.seconds, given.seed, cache=given.cache)
    write(soak.samples, given.out)
    last = soak.samples[-1] if soak.samples else None
    print(f"{soak.statuses.total()} answers, {dict(soak.statuses.most_common())}; at the end {last}")
    found = soak.wrong + verdict(soak.samples, given.growth)
    print("\n".join(found) or "flat after the warm-up")
    print(f"{given.out.with_suffix('.csv')} and .svg")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
