"""The core imports nothing of the servers or of AWS' SDK; `pytest -p tests.core_only` runs tests without those."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core_only import HIDDEN

ROOT = Path(__file__).parents[2]


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; import tests.core_only; tests.core_only.hide(); {program}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_core_starts_without_them() -> None:
    program = f"import function.handler; sys.exit(bool({set(HIDDEN)!r}.intersection(sys.modules)))"
    assert run(program).returncode == 0


@pytest.mark.parametrize("name", ["uvicorn.config", "boto3", "botocore.session"])
def test_they_are_hidden(name: str) -> None:
    assert "ModuleNotFoundError" in run(f"import {name}").stderr
