"""`zeroserve doctor`: what is here, what is missing, and what to type."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.folders import artifacts
from infra.cli.output import REFUSED, as_json, refusals, table

if TYPE_CHECKING:
    from collections.abc import Iterator

# Module -> (what needs it, its package on PyPI)
_PACKAGES = {
    "onnx": ("add, prepare", "onnx"),
    "numpy": ("add, prepare", "numpy"),
    "httptools": ("serve", "httptools"),
    "awslambdaric": ("run", "awslambdaric"),
    "boto3": ("deploy, logs", "boto3"),
    "tokenizers": ("text models", "tokenizers"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `state` is ok, missing (some commands will not work) or broken (nothing will)."""

    what: str
    state: str
    found: str
    mend: str = ""


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at this machine: what is here, what is missing, and what to type. Status 1 when something is broken.

    Example: zeroserve doctor --json
    """
    with refusals():
        findings = [*_interpreter(), *_runtime(), *_packages(), *_tools(), *_models()]
        if json:
            as_json([asdict(each) for each in findings])
        else:
            table(("", "STATE", "FOUND", "TYPE"), [(each.what, each.state, each.found, each.mend) for each in findings])
        if any(each.state == "broken" for each in findings):
            raise typer.Exit(REFUSED)


def _interpreter() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    right = sys.version_info >= (3, 11) and sys.platform == "linux"
    yield Finding(
        "python",
        "ok" if right else "broken",
        f"{version} on {sys.platform} {os.uname().machine}",
        "" if right else "Python 3.11 or newer on Linux is needed",
    )


def _runtime() -> Iterator[Finding]:
    from function.native import cpu
    from function.native.ort_capi import OrtError, get_library

    try:
        yield Finding("onnxruntime", "ok", get_library().version)
    except (OrtError, OSError) as error:
        yield Finding("onnxruntime", "broken", str(error), "pip install --force-reinstall onnxruntime")
    family = cpu.family(cpu.flags())
    yield Finding("cpu", "ok", f"{os.cpu_count()} CPUs of the family {family or 'portable'}")


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    for module, (purpose, package) in _PACKAGES.items():
        if find_spec(module) is None:
            yield Finding(module, "missing", f"needed by {purpose}", f"pip install {package}")
            continue
        try:
            yield Finding(module, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(module, "ok", "of an unknown version")


def _tools() -> Iterator[Finding]:
    from infra import rie

    try:
        where = rie.present()
        yield Finding(
            "emulator",
            "ok" if where else "missing",
            str(where or "needed by run; the plain server takes its place"),
            "" if where else "zeroserve run fetches it (8 MB)",
        )
    except rie.RieError as error:
        yield Finding("emulator", "missing", str(error))
    if os.uname().machine == "x86_64":
        qemu = shutil.which("qemu-x86_64")
        mend = "" if qemu else "apt-get install qemu-user"
        found = qemu or "needed to prepare for other CPU families; the portable artifact serves there"
        yield Finding("qemu-user", "ok" if qemu else "missing", found, mend)
    builder = next((tool for tool in ("docker", "podman", "buildah") if shutil.which(tool)), None)
    mend = "" if builder else "apt-get install buildah"
    yield Finding("container builder", "ok" if builder else "missing", builder or "needed by make image", mend)


def _models() -> Iterator[Finding]:
    from models import manifest, places

    repository = places.repository()
    place = repository if repository.exists() else repository.parent
    writable = os.access(place, os.W_OK)
    yield Finding(
        "repository",
        "ok" if writable else "missing",
        str(repository) if writable else f"{repository} cannot be written, which add needs",
        "" if writable else "set MODEL_REPOSITORY to a folder of yours",
    )
    for name in manifest.names():
        try:
            model = manifest.read(manifest.folder_of(name))
        except manifest.ManifestError as error:
            yield Finding(f"model {name}", "missing", str(error))
            continue
        built = artifacts(model)
        if built:
            yield Finding(f"model {name}", "ok", ", ".join(built))
        elif model.path.is_file():
            yield Finding(f"model {name}", "missing", "not prepared", f"zeroserve prepare {name}")
        else:
            yield Finding(f"model {name}", "missing", f"{model.file.name} is not here", f"zeroserve pull {name}")


COMMANDS = (doctor,)
