"""Raw ONNX -> what `function/` loads: one artifact for each CPU family and a portable one.

zeroserve prepare digits mobilenetv2 path/to/folder
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from function.engine.artifact import GRAPH, PORTABLE
from function.engine.repository import FORMAT
from function.native.ort_capi import get_library
from models import emulators, extras, graphs, manifest, raw, record
from models.files import exchange, link, sync
from models.manifest import Manifest, ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
# Bytes of weights beside the graph from which on the portable artifact alone is made, over the very same files: their
# layout hardly matters beside their size, and writing them twice more takes minutes.
LARGE = 256 << 20


def prepare(model: Manifest, *, force: bool = False, emulate: bool = True) -> list[str]:
    """Builds model.prepared unless it is up to date; returns one line for each artifact, saying what was done.

    Without `emulate` only for the CPU of this machine, which is enough to serve it here and takes no minutes.
    ManifestError when the raw file is missing, is not the pinned one or has other tensors than model.toml says.
    """
    with _alone(model.folder) as lock:
        families, lines = ({PORTABLE: ()}, []) if is_large(model) else emulators.available()
        complete = fingerprint = _fingerprint(model, sorted(families))
        if not emulate:
            families, lines = {family: emulator for family, emulator in families.items() if not emulator}, []
            fingerprint = _fingerprint(model, sorted(families))
        if not force and _up_to_date(model, {fingerprint, complete}):
            return [f"{model.name}: {model.prepared} is up to date"]
        return lines + _build(model, families, fingerprint, lock)


def is_large(model: Manifest) -> bool:
    """Whether the weights beside the graph are so large that they are linked instead of written anew."""
    return sum(external.bytes for external in model.external) >= LARGE


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """One build of a model at a time: a second one waits, and then finds it up to date. Gives the locked descriptor."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _up_to_date(model: Manifest, fingerprints: set[str]) -> bool:
    """Whether a build would give what is there already; a damaged file is mended by building again."""
    try:
        document = json.loads((model.prepared / "model.json").read_bytes())
        folders = {model.prepared / family for family in document["families"]} | set(model.prepared.glob("*/"))
        return document["fingerprint"] in fingerprints and not any(map(record.problem, folders))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(model: Manifest, families: dict[str, tuple[str, ...]], fingerprint: str, lock: int) -> list[str]:
    """Builds everything beside model.prepared and puts it there in the end; returns a line for each artifact."""
    lines, built, expected = [], [], raw.answer(model)
    for left_over in model.folder.glob(".prepare-*"):  # of a build that was killed
        shutil.rmtree(left_over)
    with tempfile.TemporaryDirectory(dir=model.folder, prefix=".prepare-") as temporary:
        target = Path(temporary, "prepared")
        target.mkdir()
        golden_file = Path(temporary, "golden.json")
        golden_file.write_text(json.dumps({"outputs": expected, "example": raw.examples(model)}))
        with tqdm(
            families.items(),
            desc=f"prepare {model.name}",
            unit="artifact",
            disable=None if any(families.values()) else True,
        ) as progress:
            for family, emulator in progress:
                progress.set_postfix_str(family)
                folder = target / family
                folder.mkdir()
                if is_large(model):
                    _link(model, folder)
                arguments = (model.path, folder, family, golden_file)
                how = ["--linked"] if is_large(model) else []
                if failure := _run(lock, *emulator, sys.executable, "-m", "models.build_artifact", *arguments, *how):
                    if not emulator:
                        raise ManifestError(f"building {family} failed: {failure}")
                    shutil.rmtree(folder)  # an old qemu-user, say, that has no AVX2
                    lines.append(f"{model.name}: {family} left out: {failure}; the portable artifact serves there")
                    continue
                built.append(family)
                size = sum(path.stat().st_size for path in folder.rglob("*"))
                lines.append(f"{model.name}: {family} built, {size / 1e6:.1f} MB")
        shared = _write_shared(model, target, fingerprint, built)
        for family in built:
            record.write(model, target / family, family, shared, expected)
        _replace(model.prepared, target, Path(temporary, "old"))
    return lines


def _link(model: Manifest, folder: Path) -> None:
    """The raw graph and its weights as an artifact."""
    link(model.path, folder / GRAPH)
    for each in model.external:
        link(model.folder / each.name, folder / each.name)


def _replace(current: Path, new: Path, old: Path) -> None:
    """Puts `new` in the place of `current`; when that fails, `current` is what it was.

    Never a file in place: models that are loaded have the old ones mapped.
    """
    sync(new)
    if not current.exists():
        new.rename(current)
        return
    if exchange(new, current):
        return
    current.rename(old)
    try:
        new.rename(current)
    except BaseException:
        old.rename(current)
        raise


def _fingerprint(model: Manifest, families: list[str]) -> str:
    """Changes whenever building again would give something else."""
    pinned = (model.file.sha256, model.labels, model.external)
    digest = hashlib.sha256(repr((FORMAT, get_library().version, families, *pinned)).encode())
    for path in (
        model.folder / "model.toml",
        *(HERE / f"{name}.py" for name in ("prepare", "build_artifact", "graphs", "raw", "record", "example")),
    ):
        digest.update(path.read_bytes())
    for content in extras.files(model).values():
        digest.update(content)
    return digest.hexdigest()


def _write_shared(model: Manifest, target: Path, fingerprint: str, families: list[str]) -> list[str]:
    """What all artifacts of the model share: model.json and the graph for pictures. Returns the files' names."""
    small = {}
    if model.image:
        small["image.onnx"] = graphs.image(model.image)
    written = {name: graph.SerializeToString(deterministic=True) for name, graph in small.items()}
    written |= extras.files(model)
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
            **extras.tables(model),
            "labels": model.labels,
            "example": raw.examples(model),
            "families": families,
            "portable_only": is_large(model),
            "fingerprint": fingerprint,
        }
    )
    for name, content in written.items():
        (target / name).write_bytes(content)
    return sorted(written)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _run(lock: int, *command: str | Path) -> str | None:
    """None when the command went well, else what it said last. It holds the lock too, should this process be killed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, check=False, pass_fds=[lock])
    said = (done.stdout + done.stderr).strip() or f"it ended with code {done.returncode} and said nothing"
    return said.splitlines()[-1] if done.returncode else None


def main() -> None:
    """Prepares the models named on the command line; says what was done and what was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="name of a model here, or a folder with a model.toml")
    parser.add_argument("--force", action="store_true", help="build again even if nothing changed")
    arguments = parser.parse_args()
    try:
        for name in arguments.models:
            print("\n".join(prepare(manifest.read(manifest.folder_of(name)), force=arguments.force)))
    except (ManifestError, OSError) as error:  # OSError: of the disk
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
