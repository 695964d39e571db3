"""Raw ONNX -> what `function/` loads: one artifact for each CPU family and a portable one.

zeroserve prepare digits mobilenetv2 path/to/folder
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from function.engine.artifact import GRAPH, PORTABLE
from function.engine.repository import FORMAT
from function.native.cpu import INT8
from function.native.ort_capi import get_library
from models import emulators, extras, manifest, quantise, raw, record, upstreams
from models import pictures as data
from models.extras import write_shared as _write_shared
from models.files import alone, exchange, link, sync
from models.manifest import Manifest, ManifestError

if TYPE_CHECKING:
    from models.pictures import Pictures

HERE = Path(__file__).parent
# Bytes of weights beside the graph from which on the portable artifact alone is made, over the very same files: their
# layout hardly matters beside their size, and writing them twice more takes minutes.
LARGE = 256 << 20


def prepare(
    model: Manifest,
    *,
    force: bool = False,
    emulate: bool = True,
    int8: bool = False,
    calibration: Path | None = None,
) -> list[str]:
    """Builds model.prepared unless it is up to date; returns one line for each artifact, saying what was done.

    Without `emulate` only for the CPU of this machine, which is enough to serve it here and takes no minutes. With
    `int8` one of 8-bit integers as well, made with the pictures in the folder `calibration`, None: those that
    `pictures.find` knows. ManifestError when the raw file is missing, is not the pinned one or has other tensors than
    model.toml says, and when int8 loses more than is allowed.
    """
    if model.upstream:
        return upstreams.prepare(model)
    pictures, note = _pictures(model, calibration) if int8 or calibration else (None, [])
    with alone(model.folder) as lock:
        families, lines = ({PORTABLE: ()}, []) if is_large(model) else emulators.available()
        complete = fingerprint = _fingerprint(model, sorted(families))
        if not emulate:
            families, lines = {family: emulator for family, emulator in families.items() if not emulator}, []
            fingerprint = _fingerprint(model, sorted(families))
        if not force and _up_to_date(model, {fingerprint, complete}, pictures):
            return [*note, f"{model.name}: {model.prepared} is up to date"]
        return [*note, *lines, *_build(model, families, fingerprint, lock, pictures)]


def _pictures(model: Manifest, folder: Path | None) -> tuple[Pictures | None, list[str]]:
    """What to quantise with, None for a graph that is quantised already, and a line that says so."""
    if quantise.is_quantised(model):
        return None, [f"{model.name}: its graph is quantised already, with scales of its own: prepared as it is"]
    quantise.check_cpu()
    if is_large(model):
        raise ManifestError(f"{model.name} is too large for --int8: its weights are linked, not written again")
    return data.find(model, folder), []


def is_large(model: Manifest) -> bool:
    """Whether the weights beside the graph are so large that they are linked instead of written anew."""
    return sum(external.bytes for external in model.external) >= LARGE


def _up_to_date(model: Manifest, fingerprints: set[str], pictures: Pictures | None) -> bool:
    """Whether a build would give what is there already, or that and int8; a damaged file is mended by building."""
    try:
        document = json.loads((model.prepared / "model.json").read_bytes())
        folders = {model.prepared / family for family in document["families"]} | set(model.prepared.glob("*/"))
        made = document.get("int8", {"fp32": document["fingerprint"], "pictures": ""})
        if pictures and made["pictures"] != pictures.digest:
            return False
        return made["fp32"] in fingerprints and not any(map(record.problem, folders))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(
    model: Manifest, families: dict[str, tuple[str, ...]], fingerprint: str, lock: int, pictures: Pictures | None
) -> list[str]:
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
        measured = None
        if pictures:
            (target / INT8).mkdir()
            measured = quantise.build(model, target / INT8, Path(temporary), pictures)
            lines.append(f"{model.name}: {INT8} built: {quantise.said(measured)}")
        elif (model.prepared / INT8).is_dir():
            lines.append(f"{model.name}: {INT8} left out: it was made of what has changed; prepare with --int8")
        families_built = [*built, INT8] if pictures else built
        stamp = _stamp(fingerprint, pictures)
        shared = _write_shared(model, target, families_built, stamp, portable_only=is_large(model))
        for family in built:
            record.write(model, target / family, shared, expected)
        if measured:
            record.write(model, target / INT8, shared, quantise.answer(model, target / INT8), measured)
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
    code = ("prepare", "build_artifact", "extras", "graphs", "raw", "record", "example", "quantise", "pictures")
    for path in (model.folder / "model.toml", *(HERE / f"{name}.py" for name in code)):
        digest.update(path.read_bytes())
    for content in extras.files(model).values():
        digest.update(content)
    return digest.hexdigest()


def _stamp(fingerprint: str, pictures: Pictures | None) -> dict[str, Any]:
    """The end of model.json. With int8 the fingerprint is another: answers and published builds are kept by it."""
    if pictures is None:
        return {"fingerprint": fingerprint}
    both = hashlib.sha256(f"{fingerprint} {pictures.digest}".encode()).hexdigest()
    return {"fingerprint": both, "int8": {"fp32": fingerprint, "pictures": pictures.digest}}


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
    parser.add_argument("--int8", action="store_true", help="an artifact of 8-bit integers as well, for CPUs with VNNI")
    parser.add_argument("--calibration", type=Path, help="a folder of pictures to make it with; means --int8")
    given = parser.parse_args()
    try:
        for name in given.models:
            model = manifest.read(manifest.folder_of(name))
            print("\n".join(prepare(model, force=given.force, int8=given.int8, calibration=given.calibration)))
    except (ManifestError, OSError) as error:  # OSError: of the disk
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
