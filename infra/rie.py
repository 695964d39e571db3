"""Get AWS's Lambda Runtime Interface Emulator (RIE): `python -m infra.rie` prints its path."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from models import places

ROOT = places.ROOT
CACHE = places.cache() / "rie"
REQUIREMENTS = ROOT / "requirements" / "rie.txt"

# By `uname -m`. Both names of 64-bit ARM occur on Linux.
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
# Of the files in the wheel that requirements/rie.txt pins; change the two together.
_SHA256 = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}


class RieError(RuntimeError):
    """The emulator cannot be had; the message says why and what to type next."""


def present(cache: Path = CACHE) -> Path | None:
    """The verified binary where it is in `cache` already; RieError when this machine can have none."""
    architecture = _architecture()
    binary = cache / f"aws-lambda-rie-{architecture}"
    return binary if os.access(binary, os.X_OK) and _sha256(binary.read_bytes()) == _SHA256[architecture] else None


def ensure(cache: Path = CACHE) -> Path:
    """Return the path of the verified emulator binary for this machine, fetching it when needed.

    A binary in `cache` whose sha256 is right is used as it is; a damaged one is replaced.
    Raises RieError when the machine has no emulator, pip cannot fetch it, or its checksum is wrong.
    """
    if found := present(cache):
        return found
    architecture = _architecture()
    binary = cache / f"aws-lambda-rie-{architecture}"
    print("Fetching the Lambda emulator (8 MB) with pip ...", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(f"samcli/local/rapid/{binary.name}")
    if (digest := _sha256(content)) != _SHA256[architecture]:
        raise RieError(
            f"{wheel.name} holds a {binary.name} with sha256 {digest}, expected {_SHA256[architecture]}. "
            "The pins in infra/rie.py and requirements/rie.txt belong together: restore both files"
        )
    _write(binary, content)
    return binary


def _architecture() -> str:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        raise RieError(
            f"the Lambda emulator runs on Linux x86_64 or arm64, this is {sys.platform} {machine}. "
            "Run the command again in a Linux container"
        )
    return _ARCHITECTURES[machine]


def _download(folder: Path) -> Path:
    """Download the pinned wheel into an empty folder; pip checks its sha256."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(REQUIREMENTS)]
    command += ["-d", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise RieError(
            f"pip could not fetch the emulator ({REQUIREMENTS.name}):\n{done.stdout.strip()[-2000:]}\n"
            f"When the network is back, type: {sys.executable} -m infra.rie\n"
            "Without a network, put the wheel named in requirements/rie.txt into a folder DIR and type: "
            f"PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR {sys.executable} -m infra.rie"
        )
    return wheels[0]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write an executable so that no other process ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.chmod(0o755)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


if __name__ == "__main__":
    try:
        print(ensure())
    except RieError as error:
        sys.exit(f"error: {error}")
