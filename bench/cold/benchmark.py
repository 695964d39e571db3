"""From process spawn to the first correct prediction."""

from __future__ import annotations

import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import machine, payloads, results
from bench.cold import page_cache
from bench.cold.summary import FIRST
from bench.cold.systems import (
    PACKAGED,
    FloorSystem,
    GoSystem,
    ProcessSystem,
    naive_lambda_rie,
    zeroserve_awslambdaric_rie,
    zeroserve_packaged,
    zeroserve_rie,
)
from bench.payloads import NESTED
from bench.peers import launch
from bench.servers import GO, GO_THREADS
from infra.rie import ROOT
from layer.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cold.systems import System
    from bench.payloads import Payload
    from layer.unpack import Packaged
    from models.manifest import Manifest

SYSTEMS = (
    "zeroserve-rie",
    "zeroserve-awslambdaric-rie",
    "zeroserve-packaged",
    "naive-lambda-rie",
    "zeroserve-process",
    GO,
    "ort-floor",
)
PAYLOADS = (NESTED, "binary", "jpeg")
RATIOS = (
    (("zeroserve-rie", NESTED), ("zeroserve-awslambdaric-rie", NESTED)),
    (("zeroserve-rie", "binary"), ("zeroserve-awslambdaric-rie", "binary")),
    (("zeroserve-rie", NESTED), ("naive-lambda-rie", NESTED)),
    (("zeroserve-rie", NESTED), (GO, NESTED)),
    (("zeroserve-process", NESTED), (GO, NESTED)),
    (("zeroserve-process", "binary"), (GO, NESTED)),
    (("zeroserve-rie", "jpeg"), ("naive-lambda-rie", "jpeg")),
    (("zeroserve-packaged", NESTED), ("zeroserve-rie", NESTED)),
    (("zeroserve-packaged", "jpeg"), ("zeroserve-rie", "jpeg")),
    (("zeroserve-process", "binary"), ("ort-floor", "binary")),
)


def build(names: Sequence[str], model: Manifest, folder: Path, packaged: Packaged | None) -> list[System]:
    """The named systems, in the order of SYSTEMS; the Go peer twice, or left out where it cannot be built."""
    made: list[System] = []
    for name in (name for name in SYSTEMS if name in names):
        if name == "zeroserve-rie":
            made.append(zeroserve_rie(model))
        elif name == "zeroserve-awslambdaric-rie":
            made.append(zeroserve_awslambdaric_rie(model))
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
    if variants and samples.values(variants[0], NESTED, FIRST):
        best = samples.keep_best(variants, GO, NESTED, FIRST)
        versions[GO] = best.partition(", ")[2]
    elif GO in names:
        versions[GO] = "left out: not built, or no payload that it understands"
    document = {**about, "versions": versions, "runs": runs, "rows": samples.rows()}
    return document | {"ratios": samples.ratios(FIRST, RATIOS)}, files


def files_totals(touched: dict[Path, int], deployed: Sequence[Path]) -> dict[str, float]:
    """MB of all files that a cold start touched, and of those in `deployed`: without interpreter and system."""
    folders = [folder.resolve() for folder in deployed]
    own = sum(size for path, size in touched.items() if any(path.is_relative_to(folder) for folder in folders))
    return {"files_touched_mb": sum(touched.values()) / 1e6, "deployed_files_touched_mb": own / 1e6}
