"""The folders that are deployed: the function with its models, the layer's libraries, the container image's files."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from function.engine.artifact import ALIKE, PORTABLE, RECORD
from layer import bytecode, extras, rules, slim
from layer.wheels import ARCHITECTURES, CPU, ROOT
from models import manifest, places

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# The HTTP server's entries need packages that only the container image has.
SERVER_ONLY = ("asgi.py", "server")
TASK_ROOT = "/var/task"
LAYER_ROOT = "/opt/python"
WRAPPER = "zeroserve-bootstrap"  # in /opt; AWS_LAMBDA_EXEC_WRAPPER names it


class StageError(Exception):
    """Something that is to be deployed is not there; the message says how to make it."""


def function(target: Path, models: Sequence[str], python: str | None, *, server: bool = False) -> list[str]:
    """Lays /var/task out: `function/` and the prepared models. Returns "name: family, family" for each model.

    `python` compiles it; without one the sources go alone. Raises StageError, manifest.ManifestError.
    """
    code = target / "function"
    left_out = () if server else SERVER_ONLY
    ignored = shutil.ignore_patterns("__pycache__", "*.md", *left_out)
    shutil.copytree(ROOT / "function", code, ignore=ignored, copy_function=shutil.copyfile)
    if python:
        bytecode.compile_tree(code, f"{TASK_ROOT}/function", python)
    return [_model(target / "models", name) for name in models]


def missing_kernels(target: Path, architectures: Sequence[str] = ARCHITECTURES) -> list[str]:
    """A line for each of the architectures for which `function` found no JSON reader in C (native/build.py)."""
    mend = "run: make kernels"
    if not places.CHECKOUT:
        mend = "deploy for another architecture, or install a wheel of zeroserve that was built after `make kernels`"
    return [
        f"no JSON reader in C for {architecture}: Python reads JSON there, many times slower; {mend}"
        for architecture in architectures
        if not (target / "function" / "native" / f"json-{CPU[architecture]}.so").exists()
    ]


def _model(repository: Path, name: str) -> str:
    model = manifest.read(manifest.folder_of(name))
    command = f"zeroserve prepare {name}"
    try:
        document = json.loads((model.prepared / "model.json").read_bytes())
    except FileNotFoundError:
        raise StageError(f"{model.folder} is not prepared; run: {command}") from None
    if document["sha256"] != model.file.sha256:
        raise StageError(f"{model.prepared} was made of another {model.file.name}; run: {command}")
    # Loaded by the folder's name, which function/engine/repository.py wants to be the model's.
    alike = _alike(model.prepared)
    target = repository / model.name / "prepared"
    shutil.copytree(model.prepared, target, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(*alike))
    if alike:
        (target / ALIKE).write_text(json.dumps(alike) + "\n", encoding="utf-8")
    return f"{model.name}: {', '.join(sorted(path.parent.name for path in target.glob('*/artifact.json')))}"


def wrapper(target: Path) -> None:
    """Puts the program that starts our runtime client on Lambda into `target`, which becomes /opt."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "layer" / WRAPPER, target)


def _alike(prepared: Path) -> list[str]:
    """The families whose files are the portable artifact's to the byte: models without convolutions have no layout.

    One copy of their weights is enough, and often all that fits into Lambda's 250 MB.
    """

    def files(folder: Path) -> dict[str, str]:
        rows = json.loads((folder / RECORD).read_bytes())["files"]
        return {name: row["sha256"] for name, row in rows.items() if not name.startswith("../")}

    families = {path.parent.name: files(path.parent) for path in prepared.glob(f"*/{RECORD}")}
    return sorted(name for name in families if name != PORTABLE and families[name] == families.get(PORTABLE))


def layer(target: Path, architecture: str, python_version: str, python: str | None, models: Sequence[str] = ()) -> None:
    """Lays /opt/python out: what `function/` imports, and what the models need beyond that.

    Raises slim.RuleError, wheels.WheelError, extras.RequirementError, manifest.ManifestError.
    """
    lock = ROOT / "requirements" / "function.txt"
    slim.install(rules.FUNCTION, lock, architecture, python_version, target)
    extras.install([manifest.read(manifest.folder_of(name)) for name in models], architecture, python_version, target)
    if python:
        bytecode.compile_tree(target, LAYER_ROOT, python)
