"""Byte code that stays valid: zip tools and image builders reset the times that ordinary .pyc files are checked by."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class BytecodeError(Exception):
    """A module does not compile."""


def find_python(version: str) -> str | None:
    """An interpreter of `version` ("3.13"), as byte code is its version's own; None when there is none here."""
    for candidate in (sys.executable, shutil.which(f"python{version}")):
        if candidate:
            script = "import sys; print('%d.%d' % sys.version_info[:2])"
            done = subprocess.run([candidate, "-c", script], capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                return candidate
    return None


def missing(version: str) -> str:
    """What to tell whoever packs without an interpreter of `version`."""
    return (
        f"There is no python{version} on the PATH, so no byte code is packed and each cold start compiles the sources. "
        "Install one and run the command again"
    )


def compile_tree(folder: Path, location: str, python: str) -> None:
    """Writes __pycache__ for every module of `folder`, which will be found at `location` where it runs.

    unchecked-hash (PEP 552): neither the source's time nor its content is looked at when a module is imported.
    Raises BytecodeError.
    """
    command = [python, "-m", "compileall", "-q", "-f", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", location, str(folder)]
    # A set of constants is written in the order of its hashes.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, env=environ | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BytecodeError(f"{folder} does not compile with {python}:\n{done.stdout}{done.stderr}")
