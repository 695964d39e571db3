"""Inside the container build: the files of the image, for the CPU and the Python that it runs on.

python -m layer.rootfs OUT digits
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from infra import rie
from layer import bytecode, rules, slim, stage
from layer.wheels import ROOT

# After /var/task and /opt/python on PYTHONPATH; a cold start on Lambda reads the runtime client's files of it only.
RUNTIME_ROOT = "/opt/runtime"


def build(out: Path, model: str) -> None:
    """Lays OUT/{task,python,runtime,bin} out; the Dockerfile copies each into a layer of its own.

    Raises what layer.stage.function and layer.slim.install raise, and infra.rie.RieError.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    architecture = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    lines = stage.function(out / "task", [model], sys.executable, server=True)
    print("\n".join(lines + stage.missing_kernels(out / "task", [architecture])))
    stage.layer(out / "python", architecture, version, sys.executable, [model])
    lock = ROOT / "requirements" / "image.txt"
    slim.install(rules.RUNTIME, lock, architecture, version, out / "runtime")
    bytecode.compile_tree(out / "runtime", RUNTIME_ROOT, sys.executable)
    (out / "bin").mkdir()
    rie.ensure().rename(out / "bin" / "aws-lambda-rie")


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])
