"""What a benchmark ran on: the `machine` and `versions` of a result file."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from function.native import cpu
from function.settings import VERSION

PACKAGES = ("onnxruntime", "pybase64", "pillow", "awslambdaric", "httptools")


def machine() -> dict[str, Any]:
    """CPU, cores that may be used, memory, kernel, and how busy the machine was before the first run."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cpu_family": cpu.family(cpu.flags()) or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of this project, Python, the packages that the function uses, and Go where it is installed."""
    found = {"zeroserve": VERSION, "python": platform.python_version()}
    found |= {name: metadata.version(name) for name in PACKAGES}
    if go := shutil.which("go"):
        found["go"] = subprocess.run(
            [go, "env", "GOVERSION"], check=True, capture_output=True, text=True
        ).stdout.strip()
    return found


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
