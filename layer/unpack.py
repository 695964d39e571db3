"""The zips laid out as Lambda lays them out, for the emulator on this machine."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.emulator import AWSLAMBDARIC
from layer import package, stage

if TYPE_CHECKING:
    from collections.abc import Sequence

# The managed runtime brings AWS's runtime client itself; these are its files here.
RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")


@dataclass(frozen=True)
class Packaged:
    """Arguments for infra.emulator.Emulator: Emulator(cwd=p.cwd, env=p.env, command=p.command(handler))."""

    cwd: Path
    env: dict[str, str]
    python: str
    wrapper: str  # what AWS_LAMBDA_EXEC_WRAPPER names

    def command(self, handler: str = "function.handler.handler") -> list[str]:
        """What Lambda runs."""
        return [self.wrapper, self.python, *AWSLAMBDARIC, handler]


def unpack(target: Path, models: Sequence[str] = ("digits",)) -> Packaged:
    """Builds the zips for this interpreter and this CPU and lays them out under `target`, which must be new.

    target/var/task has function.zip, target/opt the layer, target/var/lang an interpreter with nothing but the
    runtime client: no site-packages of this environment can be reached. Raises what layer.package.build raises.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    architecture = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    package.build(target / "dist", models, version, [architecture])
    for name, place in (("function.zip", "var/task"), (f"layer-{architecture}.zip", "opt")):
        with zipfile.ZipFile(target / "dist" / name) as archive:
            archive.extractall(target / place)
    # An environment of its own hides the packages of the interpreter below it; there is no pip in it.
    runtime = target / "var" / "lang"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(runtime)], check=True)
    _copy_runtime_client(runtime / "lib" / f"python{version}" / "site-packages")
    paths = [str(target / "var" / "task"), str(target / "opt" / "python")]
    env = {"PYTHONPATH": ":".join(paths), "PYTHONNOUSERSITE": "1", "LAMBDA_TASK_ROOT": paths[0]}
    wrapper = target / "opt" / stage.WRAPPER
    wrapper.chmod(0o755)  # zipfile leaves it out
    return Packaged(Path(paths[0]), env, str(runtime / "bin" / "python"), str(wrapper))


def _copy_runtime_client(site_packages: Path) -> None:
    for name in RUNTIME_CLIENT:
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts:  # scripts in bin/
                path = site_packages / file
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), path)
