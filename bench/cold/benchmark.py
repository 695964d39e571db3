"""From process spawn to the first correct prediction."""

from __future__ import annotations

import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import machine, payloads, results
from bench.cold import page_cache
from bench.cold.http_systems import SERVER, ServerSystem, fastapi, goserve
from bench.cold.rivals import (
    GO_ARTIFACT,
    GO_INIT,
    GO_OVERLAPPED,
    LWA,
    NAIVE,
    golambda,
    lwa_fastapi,
    naive_lambda_rie,
)
from bench.cold.summary import FIRST
from bench.cold.systems import (
    FLOOR,
    PACKAGED,
    PROCESS,
    RIE,
    RIE_AWS,
    FloorSystem,
    ProcessSystem,
    zeroserve_awslambdaric_rie,
    zeroserve_packaged,
    zeroserve_rie,
)
from bench.payloads import NESTED
from bench.peers import launch
from bench.servers import FASTAPI, GO, GO_THREADS
from infra.rie import ROOT
from layer.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.cold.systems import System
    from bench.payloads import Payload
    from layer.unpack import Packaged
    from models.manifest import Manifest

GO_LAMBDAS = (GO_INIT, GO_OVERLAPPED, GO_ARTIFACT)
SYSTEMS = (RIE, RIE_AWS, PACKAGED, *GO_LAMBDAS, LWA, NAIVE, PROCESS, SERVER, GO, FASTAPI, FLOOR)
PAYLOADS = (NESTED, "binary", "jpeg")
# Like with like: emulator with emulator, plain server with plain server, bare process with bare process.
RATIOS = (
    ((RIE, NESTED), (RIE_AWS, NESTED)),
    ((RIE, "binary"), (RIE_AWS, "binary")),
    *(((RIE, payload), (rival, payload)) for rival in GO_LAMBDAS for payload in (NESTED, "binary")),
    ((RIE, NESTED), (LWA, NESTED)),
    ((RIE, NESTED), (NAIVE, NESTED)),
    ((RIE, "jpeg"), (NAIVE, "jpeg")),
    ((SERVER, NESTED), (GO, NESTED)),
    ((SERVER, "binary"), (GO, "binary")),
    ((SERVER, NESTED), (FASTAPI, NESTED)),
    ((PROCESS, "binary"), (FLOOR, "binary")),
    ((PACKAGED, NESTED), (RIE, NESTED)),
    ((PACKAGED, "binary"), (RIE, "binary")),
    ((PACKAGED, "jpeg"), (RIE, "jpeg")),
    # Unlike things: goals that were set before there was a Go Lambda or a start of the plain server to compare with.
    ((RIE, NESTED), (GO, NESTED)),
    ((PROCESS, NESTED), (GO, NESTED)),
    ((PROCESS, "binary"), (GO, NESTED)),
)


def build(names: Sequence[str], model: Manifest, folder: Path, packaged: Packaged | None) -> list[System]:
    """The named systems, in the order of SYSTEMS; the Go server twice. What cannot be built is left out."""
    simple: dict[str, Callable[[], System | None]] = {
        RIE: lambda: zeroserve_rie(model),
        RIE_AWS: lambda: zeroserve_awslambdaric_rie(model),
        **{name: lambda name=name: golambda(name, model) for name in GO_LAMBDAS},  # type: ignore[misc]
        LWA: lambda: lwa_fastapi(model),
        NAIVE: lambda: naive_lambda_rie(model),
        PROCESS: lambda: ProcessSystem(model, folder),
        SERVER: lambda: ServerSystem(model),
        FASTAPI: lambda: fastapi(FASTAPI, model),
        FLOOR: lambda: FloorSystem(model, folder),
    }
    made: list[System | None] = []
    for name in (name for name in SYSTEMS if name in names):
        if name in simple:
            made.append(simple[name]())
        elif name == PACKAGED:
            made += [zeroserve_packaged(packaged)] if packaged else []
        elif binary := launch.build_goserve():
            made += [goserve(variant, binary, model, threads) for variant, threads in GO_THREADS.items()]
    return [system for system in made if system]


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
    versions |= keep_best_go(samples, systems, names, ladder)
    document = {**about, "versions": versions, "runs": runs, "rows": samples.rows()}
    return document | {"ratios": samples.ratios(FIRST, RATIOS)}, files


def keep_best_go(
    samples: results.Samples, systems: Sequence[System], names: Sequence[str], ladder: Sequence[Payload]
) -> dict[str, str]:
    """Keeps the better setting of the Go server for each payload; what is to be said of it and of those left out."""
    measured = {system.name for system in systems}
    said = {name: "left out: not built" for name in (*GO_LAMBDAS, LWA) if name in names and name not in measured}
    variants = [system.name for system in systems if system.name in GO_THREADS]
    best = [
        samples.keep_best(variants, GO, payload.name, FIRST).partition(", ")[2]
        for payload in ladder
        if variants and samples.values(variants[0], payload.name, FIRST)
    ]
    if best:
        said[GO] = "; ".join(dict.fromkeys(best))
    elif GO in names:
        said[GO] = "left out: not built, or no payload that it understands"
    return said


def files_totals(touched: dict[Path, int], deployed: Sequence[Path]) -> dict[str, float]:
    """MB of all files that a cold start touched, and of those in `deployed`: without interpreter and system."""
    folders = [folder.resolve() for folder in deployed]
    own = sum(size for path, size in touched.items() if any(path.is_relative_to(folder) for folder in folders))
    return {"files_touched_mb": sum(touched.values()) / 1e6, "deployed_files_touched_mb": own / 1e6}
