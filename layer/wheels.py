"""Wheels for another machine than this one, by pip and the hashes of a lock file, kept in .cache/wheels."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from models import places

ROOT = places.ROOT
CACHE = places.cache() / "wheels"

# Lambda's runtimes since Python 3.12 are Amazon Linux 2023, glibc 2.34; no newer wheel tag may be asked for.
_GLIBC = (34, 31, 28, 27, 26, 24, 17)
CPU = {"x86_64": "x86_64", "arm64": "aarch64"}  # what Lambda and what Linux calls it
ARCHITECTURES = tuple(CPU)


class WheelError(Exception):
    """The wheels cannot be had; the message says why and what to type next."""


def locked(lock: Path) -> dict[str, str]:
    """Package -> its lines in a lock file of `uv pip compile --generate-hashes`; all versions of one are joined."""
    entries: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip()):
        name = block.partition("==")[0].strip()
        entries[name] = entries.get(name, "") + block + "\n"
    return entries


def fetch(packages: list[str], lock: Path, architecture: str, python_version: str) -> list[Path]:
    """One wheel for each package, sorted; from the cache when the lock file's lines are the same as last time.

    Raises WheelError: pip cannot fetch one (no network, no wheel for that Python or CPU, or a wrong hash).
    """
    entries = locked(lock)
    requirements = "".join(entries[name] for name in sorted(packages))
    digest = hashlib.sha256(requirements.encode()).hexdigest()[:16]
    folder = CACHE / f"{architecture}-{python_version}-{digest}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            temporary = Path(name, "wheels")
            Path(name, "requirements.txt").write_text(requirements, encoding="utf-8")
            _pip(Path(name, "requirements.txt"), temporary, architecture, python_version)
            if not folder.is_dir():  # another process may have been faster
                temporary.rename(folder)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != len(packages):
        raise WheelError(f"{folder} has {len(wheels)} wheels for {len(packages)} packages; remove it and try again")
    return wheels


def fetch_required(requirements: Path, target: Path, architecture: str, python_version: str) -> list[Path]:
    """One wheel for each package of somebody's own requirements.txt and of what these need, in `target`, sorted.

    Its hashes are checked where it has some. Raises WheelError.
    """
    _pip(requirements, target, architecture, python_version, locked=False)
    return sorted(target.glob("*.whl"))


def _pip(requirements: Path, target: Path, architecture: str, python_version: str, *, locked: bool = True) -> None:
    print(f"Fetching wheels for {architecture}, Python {python_version} ...", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--only-binary=:all:", "-r", str(requirements), "-d", str(target)]
    command += ["--no-deps", "--require-hashes"] if locked else []
    command += ["--implementation", "cp", "--python-version", python_version]
    tags = [*(f"manylinux_2_{minor}" for minor in _GLIBC), "manylinux2014"]
    for tag in tags:
        command += ["--platform", f"{tag}_{CPU[architecture]}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise WheelError(
            f"pip could not fetch the wheels for {architecture}, Python {python_version}: {_reason(done.stdout)}. Once "
            f"fetched they are kept in {CACHE}; mend it, then run the same command again"
        )


def _reason(said: str) -> str:
    """What kept pip, in a line: where it reached nobody, it ends with the words that there is no such package."""
    if unreached := re.search(r"Failed to establish a new connection: (?:\[Errno -?\d+\] )?([^'\n]+)", said):
        return f"no network ({unreached[1]})"
    if "No module named pip" in said:
        return f"there is no pip here; run: {sys.executable} -m ensurepip"
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in reversed(lines) if line.startswith("ERROR: ")), lines[-1]).removeprefix("ERROR: ")
