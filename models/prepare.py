"""Raw ONNX -> what `function/` loads: one artifact for each CPU family and a portable one.

python -m models.prepare digits mobilenetv2 path/to/folder
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from function import cpu, golden
from function.artifact import PORTABLE
from function.ort import OPTIMISE_BASIC, Session
from function.ort_api import OrtError, api
from function.repository import FORMAT
from models import graphs, manifest
from models.manifest import Manifest, ManifestError

HERE = Path(__file__).parent
# A CPU of each family to play under qemu-user; its x86 CPUs have no AVX-512 (qemu 10).
EMULATED = {"x86_64": {"avx2": ("qemu-x86_64", "-cpu", "Haswell")}}


def prepare(model: Manifest, *, force: bool = False) -> list[str]:
    """Builds model.prepared unless it is up to date; returns one line for each artifact, saying what was done.

    ManifestError when the raw file is missing, is not the pinned one or has other tensors than model.toml says.
    """
    emulators, lines = _emulators()
    fingerprint = _fingerprint(model, sorted(emulators))
    document = model.prepared / "model.json"
    if not force and document.is_file() and json.loads(document.read_bytes()).get("fingerprint") == fingerprint:
        return [f"{model.name}: {model.prepared} is up to date"]
    expected = _check_raw(model)
    with tempfile.TemporaryDirectory(dir=model.folder, prefix=".prepare-") as temporary:
        target = Path(temporary, "prepared")
        shared = _write_shared(model, target, fingerprint)
        golden_file = Path(temporary, "golden.json")
        golden_file.write_text(json.dumps(expected))
        with tqdm(emulators.items(), desc=f"prepare {model.name}", unit="artifact", disable=None) as progress:
            for family, emulator in progress:
                progress.set_postfix_str(family)
                folder = target / family
                folder.mkdir()
                _run(
                    *emulator,
                    sys.executable,
                    "-m",
                    "models.build_artifact",
                    model.path,
                    folder,
                    family,
                    golden_file,
                )
                _write_record(model, folder, family, shared, expected)
                size = sum(path.stat().st_size for path in folder.iterdir())
                lines.append(f"{model.name}: {family} built, {size / 1e6:.1f} MB")
        if model.prepared.exists():
            model.prepared.rename(Path(temporary, "old"))
        target.rename(model.prepared)
    return lines


def _emulators() -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Family -> the command that plays its CPU (empty for this one's), and a line for each family left out."""
    machine, here = os.uname().machine, cpu.family(cpu.flags())
    found: dict[str, tuple[str, ...]] = {PORTABLE: ()}
    left_out = []
    for family in cpu.FAMILIES:
        emulator = EMULATED.get(machine, {}).get(family)
        if family == here:
            found[family] = ()
        elif emulator and shutil.which(emulator[0]):
            found[family] = emulator
        elif (family == "neon") == (machine == "aarch64"):
            reason = f"{emulator[0]} is not installed (Debian: qemu-user)" if emulator else "it needs such a CPU"
            left_out.append(f"{family} left out: {reason}; the portable artifact serves there")
    return found, left_out


def _fingerprint(model: Manifest, families: list[str]) -> str:
    """Changes whenever building again would give something else."""
    digest = hashlib.sha256(repr((FORMAT, api().version, families, model.file.sha256, model.labels)).encode())
    for path in (
        model.folder / "model.toml",
        *(HERE / f"{name}.py" for name in ("prepare", "build_artifact", "graphs")),
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _check_raw(model: Manifest) -> dict[str, list[float]]:
    """The raw model's answer to the golden input, after checking the file and its tensors against model.toml."""
    if not model.path.is_file():
        hint = f"; run: python -m models.pull {model.name}" if model.file.sources else ""
        raise ManifestError(f"{model.path} is missing{hint}")
    size, digest = model.path.stat().st_size, hashlib.sha256(model.path.read_bytes()).hexdigest()
    if (size, digest) != (model.file.bytes, model.file.sha256):
        raise ManifestError(
            f"{model.path} has {size} bytes and sha256 {digest}; "
            f"model.toml says {model.file.bytes} and {model.file.sha256}"
        )
    try:
        session = Session(str(model.path), optimise=OPTIMISE_BASIC, threads=1)
    except OrtError as error:
        raise ManifestError(f"{model.path} is not a model that can be served: {error}") from error
    for side, said, found in (
        ("inputs", model.inputs, session.inputs),
        ("outputs", model.outputs, session.outputs),
    ):
        described = {spec.name: (spec.datatype, tuple(spec.shape)) for spec in said}
        actual = {name: (spec.datatype, spec.shape) for name, spec in found.items()}
        if described != actual:
            raise ManifestError(f"the {side} of {model.path} are {actual}; model.toml says {described}")
    try:
        return golden.answer(session.run(golden.inputs(session.inputs)))
    except OrtError as error:
        raise ManifestError(f"{model.path} cannot run the golden input: {error}") from error


def _write_shared(model: Manifest, target: Path, fingerprint: str) -> list[str]:
    """What all artifacts of the model share: model.json and the small graphs. Returns the files' names."""
    target.mkdir()
    written = {"narrow.onnx": graphs.narrow().SerializeToString(deterministic=True)}
    if model.image:
        written["image.onnx"] = graphs.image(model.image).SerializeToString(deterministic=True)
    written["model.json"] = _json(
        {
            "format": FORMAT,
            "name": model.name,
            "version": model.version,
            "description": model.description,
            "licence": model.licence,
            "source": model.source,
            "sha256": model.file.sha256,
            "inputs": [asdict(spec) for spec in model.inputs],
            "outputs": [asdict(spec) for spec in model.outputs],
            "image": asdict(model.image) if model.image else None,
            "labels": model.labels,
            "fingerprint": fingerprint,
        }
    )
    for name, content in written.items():
        (target / name).write_bytes(content)
    return sorted(written)


def _write_record(
    model: Manifest, folder: Path, family: str, shared: list[str], expected: dict[str, list[float]]
) -> None:
    """artifact.json: what the guard in function/artifact.py compares."""
    files = {}
    for name in (*sorted(path.name for path in folder.iterdir()), *(f"../{name}" for name in shared)):
        content = (folder / name).read_bytes()
        files[name] = {
            "bytes": len(content),
            "crc32": zlib.crc32(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    record = {
        "format": FORMAT,
        "model": model.name,
        "version": model.version,
        "model_sha256": model.file.sha256,
        "family": family,
        "flags": sorted(cpu.FAMILIES.get(family, ())),
        "ort_version": api().version,
        "files": files,
        "golden": {"seed": golden.SEED, "outputs": expected},
    }
    (folder / "artifact.json").write_bytes(_json(record))


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, check=False)
    if done.returncode:
        raise ManifestError(f"building failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def main() -> None:
    """Prepares the models named on the command line; says what was done and what was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="name of a model here, or a folder with a model.toml")
    parser.add_argument("--force", action="store_true", help="build again even if nothing changed")
    arguments = parser.parse_args()
    try:
        for name in arguments.models:
            print("\n".join(prepare(manifest.read(manifest.folder_of(name)), force=arguments.force)))
    except ManifestError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
