"""From process spawn to the first correct prediction: python -m bench.cold_start --runs 20 (make bench-cold)."""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import cold_report, machine, page_cache, payloads, results
from bench.cold_report import FIRST
from bench.cold_run import NoAnswerError
from bench.cold_systems import (
    PACKAGED,
    FloorSystem,
    GoSystem,
    ProcessSystem,
    naive_lambda_rie,
    zeroserve_packaged,
    zeroserve_rie,
)
from bench.page_cache import PageCacheError
from bench.payloads import WrongAnswerError
from bench.peers import launch
from infra.emulator import EmulatorError
from infra.rie import ROOT, RieError
from layer.unpack import unpack
from models import manifest
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cold_systems import System
    from bench.payloads import Payload
    from layer.unpack import Packaged
    from models.manifest import Manifest

SYSTEMS = ("zeroserve-rie", "zeroserve-packaged", "naive-lambda-rie", "zeroserve-process", "goserve-peer", "ort-floor")
PAYLOADS = ("json-nested", "binary", "jpeg")
GO_THREADS = {"goserve-peer, ORT's default of threads": 0, "goserve-peer, 1 thread": 1}
FAILURES = (ManifestError, EmulatorError, RieError, NoAnswerError, WrongAnswerError, PageCacheError)
RATIOS = (
    (("zeroserve-rie", "json-nested"), ("naive-lambda-rie", "json-nested")),
    (("zeroserve-rie", "json-nested"), ("goserve-peer", "json-nested")),
    (("zeroserve-process", "json-nested"), ("goserve-peer", "json-nested")),
    (("zeroserve-process", "binary"), ("goserve-peer", "json-nested")),
    (("zeroserve-rie", "jpeg"), ("naive-lambda-rie", "jpeg")),
    (("zeroserve-packaged", "json-nested"), ("zeroserve-rie", "json-nested")),
    (("zeroserve-packaged", "jpeg"), ("zeroserve-rie", "jpeg")),
    (("zeroserve-process", "binary"), ("ort-floor", "binary")),
)


def build(names: Sequence[str], model: Manifest, folder: Path, packaged: Packaged | None) -> list[System]:
    """The named systems, in the order of SYSTEMS; the Go peer twice, or left out where it cannot be built."""
    made: list[System] = []
    for name in (name for name in SYSTEMS if name in names):
        if name == "zeroserve-rie":
            made.append(zeroserve_rie(model))
        elif name == PACKAGED and packaged:
            made.append(zeroserve_packaged(packaged))
        elif name == "naive-lambda-rie":
            made.append(naive_lambda_rie(model))
        elif name == "zeroserve-process":
            made.append(ProcessSystem(model, folder))
        elif name == "ort-floor":
            made.append(FloorSystem(model, folder))
        elif binary := launch.build_goserve():
            made += [GoSystem(variant, binary, model, threads) for variant, threads in GO_THREADS.items()]
    return made


def measure(
    systems: Sequence[System], ladder: Sequence[Payload], runs: int, *, drop_caches: bool = False
) -> results.Samples:
    """Every system with every payload that it understands, once in each round; the first round is thrown away."""
    samples = results.Samples()
    cells = [(system, payload) for payload in ladder for system in systems if payload.name in system.payloads]
    with tqdm(total=(runs + 1) * len(cells), desc="cold starts", unit="start", disable=None) as progress:
        for number in range(runs + 1):
            for system, payload in cells:
                progress.set_postfix_str(f"{system.name} {payload.name}")
                if drop_caches:
                    page_cache.drop_all()
                run = system.run(payload)
                progress.update()
                if number == 0:
                    continue
                samples.add(system.name, payload.name, FIRST, run.total_ms)
                samples.add(system.name, payload.name, "peak_rss_mb", run.peak_rss_mb)
                for phase, duration in run.phases.items():
                    samples.add(system.name, payload.name, f"{phase}_ms", duration)
    return samples


def bench(
    model: Manifest, names: Sequence[str], payload_names: Sequence[str], runs: int, *, drop_caches: bool = False
) -> tuple[dict[str, Any], dict[str, dict[Path, int]]]:
    """The result file's content, and the files that zeroserve-process touched with each payload."""
    about = {"machine": machine.machine() | {"page_cache": "dropped" if drop_caches else "warm"}}
    versions = machine.versions()
    files: dict[str, dict[Path, int]] = {}
    ladder = payloads.ladder(model, payload_names)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packaged = unpack(folder / "packaged", [model.name]) if PACKAGED in names else None
        if packaged:
            packaged.env["MODEL_NAME"] = model.name
        systems = build(names, model, folder, packaged)
        samples = measure(systems, ladder, runs, drop_caches=drop_caches)
        for system in systems:
            if isinstance(system, ProcessSystem):
                for payload in ladder:
                    files[payload.name] = system.touched(payload, model.prepared)
                    source = (Path(sysconfig.get_paths()["platlib"]), ROOT / "function", model.prepared)
                    for metric, total in files_totals(files[payload.name], source).items():
                        samples.add(system.name, payload.name, metric, total)
        if packaged:
            deployed = (packaged.cwd, packaged.cwd.parents[1] / "opt")
            for payload in ladder:
                found = ProcessSystem(model, folder, packaged).touched(payload, packaged.cwd / "models")
                for metric, total in files_totals(found, deployed).items():
                    samples.add(PACKAGED, payload.name, metric, total)
    variants = [system.name for system in systems if system.name in GO_THREADS]
    if variants and samples.values(variants[0], "json-nested", FIRST):
        best = samples.keep_best(variants, "goserve-peer", "json-nested", FIRST)
        versions["goserve-peer"] = best.partition(", ")[2]
    elif "goserve-peer" in names:
        versions["goserve-peer"] = "left out: not built, or no payload that it understands"
    document = {**about, "versions": versions, "runs": runs, "rows": samples.rows()}
    return document | {"ratios": samples.ratios(FIRST, RATIOS)}, files


def files_totals(touched: dict[Path, int], deployed: Sequence[Path]) -> dict[str, float]:
    """MB of all files that a cold start touched, and of those in `deployed`: without interpreter and system."""
    own = sum(size for path, size in touched.items() if any(path.is_relative_to(folder) for folder in deployed))
    return {"files_touched_mb": sum(touched.values()) / 1e6, "deployed_files_touched_mb": own / 1e6}


def main() -> int:
    """0 when every answer was right; 1, with the reason, when one was not or something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="rounds that count")
    parser.add_argument("--drop-caches", action="store_true", help="empty the page cache before each start (root)")
    parser.add_argument("--payloads", nargs="+", choices=payloads.NAMES, default=PAYLOADS)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--model", default="digits", help="name of a model, or a folder with a model.toml")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error(f"--runs should be 1 or more, not {arguments.runs}")
    try:
        model = manifest.read(manifest.folder_of(arguments.model))
        # In a process of its own: while this one had ONNX Runtime mapped, its pages could not be dropped.
        subprocess.run([sys.executable, "-m", "models.prepare", str(model.folder)], cwd=ROOT, check=True)
        document, files = bench(
            model, arguments.systems, arguments.payloads, arguments.runs, drop_caches=arguments.drop_caches
        )
    except subprocess.CalledProcessError:
        return 1  # it has said why
    except FAILURES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not document["rows"]:
        print("error: none of these systems can be measured with these payloads; see bench/README.md", file=sys.stderr)
        return 1
    name = "cold_start_dropped" if arguments.drop_caches else "cold_start"
    results.write(results.FOLDER / f"{name}.json", document)
    results.write_text(ROOT / "docs" / "img" / f"{name}.svg", cold_report.chart(document))
    print(cold_report.table(document))
    print(cold_report.files_table(document, files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
