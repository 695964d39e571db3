"""Virtual environments beside the project's own, each made once from a locked requirement file."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from models import places

ROOT = places.ROOT
CACHE = places.cache() / "venvs"


def ensure(name: str) -> Path:
    """The interpreter of the environment with requirements/NAME.txt; made when the file or Python is new.

    CalledProcessError when pip cannot install it. Several processes may ask at once.
    """
    requirements = ROOT / "requirements" / f"{name}.txt"
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{key}"
    python, done = folder / "bin" / "python", folder / ".ready"
    CACHE.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():  # an interrupted installation has none and is begun again
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            locked = ["--no-deps", "--require-hashes", "-r", str(requirements)]
            subprocess.run([str(python), *install, *locked], check=True)
            done.touch()
    return python
