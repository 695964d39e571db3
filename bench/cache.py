"""When the result cache pays: python -m bench.cache [--model digits] [--requests 400]

Requests are drawn from 100 different ones with Zipf's frequencies (the second comes half as often as the first, the
third a third as often), as repeated inputs do; the function is called in this process. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import payloads
from function.app import App
from function.cache import result_cache
from function.exchange import Exchange
from function.messages import Request
from function.settings import Settings
from infra import processes
from models import manifest, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.payloads import Payload
    from models.manifest import Manifest

DIFFERENT = 100
SEED = 20_261
VALKEY = shutil.which("valkey-server") or shutil.which("redis-server")


@contextmanager
def valkey() -> Iterator[str]:
    """The URL of a server of its own on this machine."""
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(VALKEY), "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                while port not in processes.listening_ports(process.pid):
                    if process.poll() is not None:
                        raise SystemExit(f"error: {VALKEY} ended with status {process.returncode} before it listened")
                    time.sleep(0.02)
                yield f"valkey://127.0.0.1:{port}"
            finally:
                process.terminate()


def variant(payload: Payload, number: int) -> Request:
    """The payload as a request that no other number has; the answer is the same."""
    # What follows a JSON object or a JPEG's end is ignored; a raw tensor gets another number in its last place.
    body = payload.body
    if payload.name == "binary":
        body = body[:-4] + number.to_bytes(4, "little")
    else:
        body += b" " * number
    return Request("POST", payload.path, {}, dict(payload.headers), body)


def measure(api: App, payload: Payload, order: list[int]) -> dict[str, list[float]]:
    """Milliseconds of each request, by where its answer came from."""
    found: dict[str, list[float]] = {}
    for number in order:
        exchange = Exchange(variant(payload, number))
        started = time.perf_counter()
        response = api.respond(exchange)
        taken = (time.perf_counter() - started) * 1000
        assert response.status == 200, response.body
        found.setdefault(exchange.cache or "off", []).append(taken)
    return found


def rows(model: Manifest, payload: Payload, count: int) -> Iterator[str]:
    random.seed(SEED)
    order = random.choices(range(DIFFERENT), [1 / (rank + 1) for rank in range(DIFFERENT)], k=count)
    base = {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name}
    reference = App(Settings(base))
    measure(reference, payload, order[:5])  # loads the model
    entry = len(reference.respond(Exchange(variant(payload, 0))).body) + 100 + result_cache._OVERHEAD
    cases: list[tuple[str, dict[str, Any]]] = [
        ("off", {}),
        ("memory for all", {"RESULT_CACHE_BYTES": str(10**8)}),
        ("memory for 20", {"RESULT_CACHE_BYTES": str(20 * entry)}),
    ]
    with valkey() as url:
        cases.append(("Valkey, empty", {"RESULT_CACHE_URL": url}))
        cases.append(("Valkey, filled by another process", {"RESULT_CACHE_URL": url}))
        for name, settings in tqdm(cases, desc=payload.name, unit="case", disable=None):
            api = App(Settings(base | settings))
            api.inference.models.get(model.name)
            found = measure(api, payload, order)
            every = [taken for times in found.values() for taken in times]
            hits = found.get("memory", []) + found.get("shared", [])
            misses = found.get("miss", []) + found.get("off", [])
            cells = [payload.name, name, f"{len(hits) / len(every):.0%}"]
            cells += [f"{statistics.median(times):.2f}" if times else "-" for times in (hits, misses)]
            yield f"| {' | '.join([*cells, f'{statistics.mean(every):.2f}'])} |"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="name of a model here, or a folder with a model.toml")
    parser.add_argument("--requests", type=int, default=400)
    arguments = parser.parse_args()
    if VALKEY is None:
        raise SystemExit("error: neither valkey-server nor redis-server is installed")
    model = manifest.read(manifest.folder_of(arguments.model))
    prepare.prepare(model)
    print("| payload | cache | hits | a hit, ms (median) | a miss, ms (median) | all, ms (mean) |")
    print("|---|---|---|---|---|---|")
    for payload in payloads.ladder(model, ["json-flat", "binary", "jpeg"]):
        for row in rows(model, payload, arguments.requests):
            print(row, flush=True)


if __name__ == "__main__":
    main()
