"""The floor under every server: bare inference in a loop, one thread for each CPU; no request, no decoding.

Arguments: graph, optimisation level, tensor file, name and shape of the input. Prints the scores once; then, for each
line with a number of seconds on standard input, what it did in that time. Ends with its input.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from function.engine.session import Session
from function.native import cpu
from function.tensor import Tensor


def main() -> None:
    """Load, warm up, then measure whenever asked."""
    graph, level, file, name, shape = sys.argv[1:]
    session = Session(graph, optimise=int(level), threads=1)
    feeds = {name: Tensor("FP32", tuple(map(int, shape.split(","))), Path(file).read_bytes())}

    def loop(deadline: float) -> list[float]:
        durations = []
        while (began := time.perf_counter()) < deadline:
            session.run(feeds)
            durations.append((time.perf_counter() - began) * 1000)
        return durations

    (scores,) = session.run(feeds).values()
    print(json.dumps(list(scores.numbers())), flush=True)
    threads = cpu.count(0)
    with ThreadPoolExecutor(threads) as pool:
        for line in sys.stdin:
            began = time.perf_counter()
            deadline = began + float(line)
            durations = sorted(chain.from_iterable(pool.map(loop, [deadline] * threads)))
            elapsed = time.perf_counter() - began
            last = len(durations) - 1
            found = {f"p{share}": durations[round(share / 100 * last)] for share in (50, 90, 99)}
            latency = {**found, "min": durations[0]}
            print(json.dumps({"requests": last + 1, "seconds": elapsed, "latency_ms": latency}), flush=True)


if __name__ == "__main__":
    main()
