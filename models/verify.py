"""Holds prepared artifacts against their records: sha256 of each file, and the golden input where this CPU allows.

zeroserve verify digits path/to/folder
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from function.engine import golden
from function.engine.artifact import GRAPH, PORTABLE, optimise_level, read_record
from function.engine.repository import FORMAT, prepare_command
from function.engine.session import Session
from function.native import cpu
from function.native.ort_capi import OrtError, get_library
from models import manifest, quantise, raw, record, upstreams
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.manifest import Manifest


def verify(model: Manifest) -> Iterator[tuple[bool, str]]:
    """(whether it is right, one line that says what was found) for each artifact of the model."""
    if model.upstream:
        current = upstreams.is_prepared(model)
        told = f"asks {model.upstream.model} at {model.upstream.url}; nothing of it is here to be verified"
        yield current, f"{model.name}: {told if current else 'model.json is not that of model.toml'}"
        return
    families = {PORTABLE, *(path.name for path in model.prepared.glob("*/"))}
    with suppress(OSError, ValueError, KeyError, TypeError):  # a damaged model.json is found by its sha256 below
        families.update(json.loads((model.prepared / "model.json").read_bytes())["families"])
    for family in sorted(families):
        problem, done = _verify(model, model.prepared / family)
        yield problem is None, f"{model.name}: {family} {problem or done}"


def _verify(model: Manifest, folder: Path) -> tuple[str | None, str]:
    """What is wrong (None: nothing), and what was checked."""
    problem = record.problem(folder) or _mismatch(model, folder)
    if problem:
        return problem, ""
    document = read_record(str(folder))
    done = f"ok: sha256 of {len(document['files'])} files"
    here = cpu.family(cpu.flags())
    usable = {PORTABLE, here} | ({cpu.INT8} if cpu.has_vnni(cpu.flags()) else set())
    if folder.name not in usable:
        return None, f"{done}; the golden input was not run: this CPU is of the family {here}"
    try:
        session = Session(str(folder / GRAPH), optimise=optimise_level(folder.name), threads=1)
        got = golden.answer(session.run(golden.inputs(session.inputs, document["golden"]["seed"], raw.examples(model))))
    except OrtError as error:
        return str(error), ""
    done += ", the golden input's answer"
    if "int8" in document:
        done += f"; when it was made: {quantise.said(document['int8'])}"
    return golden.difference(document["golden"]["outputs"], got), done


def _mismatch(model: Manifest, folder: Path) -> str | None:
    document = read_record(str(folder))
    expected = {
        "format": FORMAT,
        "model": model.name,
        "version": model.version,
        "model_sha256": model.file.sha256,
        "ort_version": get_library().version,
    }
    for key, value in expected.items():
        if document.get(key) != value:
            return f"was built for another {key}: {document.get(key)!r}, here it is {value!r}"
    if folder.name == cpu.INT8 and document["int8"]["loss"] > model.int8.allowed_loss:
        return f"loses {document['int8']['loss']} points; model.toml allows {model.int8.allowed_loss}"
    return None


def main() -> int:
    """Verifies the models named on the command line; 1 when an artifact is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="name of a model here, or a folder with a model.toml")
    wrong = 0
    for name in parser.parse_args().models:
        try:
            model = manifest.read(manifest.folder_of(name))
        except ManifestError as error:
            print(f"error: {error}", file=sys.stderr)
            wrong = 1
            continue
        results = list(verify(model))
        print("\n".join(line for _, line in results))
        if not all(right for right, _ in results):
            print(f"{model.name}: to mend: {prepare_command(str(model.prepared))}", file=sys.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
