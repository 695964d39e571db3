"""The arm64 layer under an emulated ARM CPU: Debian's arm64 Python, qemu-user, a digit classified by the handler."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from layer import stage
from models.digits_data import held_out

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(not os.environ.get("TEST_IMAGE"), reason="opt-in: make test-image"),
    pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-user is not installed"),
]

RELEASE, PYTHON = "bookworm", "3.11"
PACKAGES = "python3,python3-minimal,libpython3-stdlib,libstdc++6,libgcc-s1,zlib1g"
# ONNX Runtime's cpuinfo reads this file and fails on that of the x86 host; qemu shows the one under its prefix.
CPUINFO = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""
SCRIPT = """
import json, platform, sys
from function.handler import handler
event = json.load(sys.stdin)
answers = [json.loads(handler({"image": picture}, None)) for picture in event]
print(json.dumps({"machine": platform.machine(), "labels": [answer["predictions"][0]["label"] for answer in answers]}))
"""


def test_digits_are_classified_on_arm64(tmp_path: Path, digits_prepared: Path) -> None:
    root = tmp_path / "arm64"
    build = ["mmdebstrap", "--variant=extract", "--architectures=arm64", f"--include={PACKAGES}", RELEASE, str(root)]
    subprocess.run(build, check=True, capture_output=True)  # unpacks only: no program of the other CPU is run
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(CPUINFO)
    stage.function(tmp_path / "task", ["digits"], None)
    stage.layer(tmp_path / "opt", "arm64", PYTHON, None)
    contents, labels = held_out()
    pictures = [base64.b64encode(contents[labels.index(digit)]).decode() for digit in range(10)]
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": f"{tmp_path / 'task'}:{tmp_path / 'opt'}",
    }
    python = ["qemu-aarch64", "-cpu", "neoverse-n1", "-L", str(root), str(root / "usr" / "bin" / f"python{PYTHON}")]
    done = subprocess.run(
        [*python, "-c", SCRIPT],
        input=json.dumps(pictures),
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == {"machine": "aarch64", "labels": [str(digit) for digit in range(10)]}
