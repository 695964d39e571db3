"""What each module on the hot path costs: python -m bench.cold.imports [--payload jpeg] [--runs 20]

Medians over fresh interpreters that answer one event (-X importtime, which makes all a little slower).
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from bench import payloads
from bench.cold.systems import process_command
from infra.rie import ROOT
from models import manifest, prepare

LINE = re.compile(r"import time: +(\d+) \| +(\d+) \| ( *)(\S+)")
Cost = tuple[float, float]  # self and cumulative, ms


def costs(event: Path) -> dict[str, Cost]:
    """What one interpreter imported for the event, in the order in which it was done; also before its program."""
    command = process_command(event, "-X", "importtime")
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    lines = map(LINE.match, done.stderr.splitlines())
    return {found[4]: (int(found[1]) / 1000, int(found[2]) / 1000) for found in lines if found}


def medians(event: Path, runs: int) -> dict[str, Cost]:
    """The medians of `costs` over `runs` interpreters, after one that is not counted."""
    costs(event)
    found: defaultdict[str, list[Cost]] = defaultdict(list)
    for _ in tqdm(range(runs), desc="imports", unit="interpreter", disable=None):
        for name, cost in costs(event).items():
            found[name].append(cost)
    return {
        name: (statistics.median(own for own, _ in pairs), statistics.median(whole for _, whole in pairs))
        for name, pairs in found.items()
    }


def main() -> None:
    """Prints a table, the dearest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--payload", choices=payloads.NAMES, default=payloads.NESTED)
    arguments = parser.parse_args()
    model = manifest.read(manifest.folder_of("digits"))
    prepare.prepare(model)
    (payload,) = payloads.ladder(model, [arguments.payload])
    with tempfile.TemporaryDirectory() as folder:
        event = Path(folder, "event.json")
        event.write_bytes(payload.event())
        found = medians(event, arguments.runs)
    print(f"{'module':<34}{'self ms':>10}{'with its own ms':>18}")
    for name, (own, whole) in sorted(found.items(), key=lambda item: -item[1][1]):
        print(f"{name:<34}{own:>10.2f}{whole:>18.2f}")
    print(f"{'all':<34}{sum(own for own, _ in found.values()):>10.2f}")


if __name__ == "__main__":
    main()
