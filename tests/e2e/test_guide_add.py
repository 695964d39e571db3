"""Guides of `zeroserve add`: every file is written, every command run as it stands there, and prints what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra import processes, venvs
from tests.e2e.test_guides import steps
from tests.support import ROOT

# Guide -> the requirements/NAME.txt that its programs have, and the variable that allows to install so much.
GUIDES = {
    "add": ("", ""),
    "gradient_boosting": ("boosting", "TEST_STRANGERS"),
    "pytorch": ("torch", "TEST_TORCH"),
}


def serving(command: str, folder: Path, environment: dict[str, str], stack: ExitStack) -> None:
    """Starts a server, to be ended with the stack, and waits until it is ready."""
    process = stack.enter_context(
        subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            env=environment,
            executable=shutil.which("zeroserve", path=environment["PATH"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    assert any("listening on" in line for line in process.stdout)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("guide", GUIDES)
def test_the_guide_does_what_it_says(guide: str, tmp_path: Path) -> None:
    requirements, switch = GUIDES[guide]
    if switch and not os.environ.get(switch):
        pytest.skip(f"set {switch}=1: it installs requirements/{requirements}.txt")
    python = venvs.ensure(requirements) if requirements else Path(sys.executable)
    port = str(processes.free_port())
    script = tmp_path / "bin" / "zeroserve"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/zeroserve/__main__.py" "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}:{python.parent}:/usr/local/bin:/usr/bin:/bin"
    environment = {**os.environ, "PATH": path, "MODEL_REPOSITORY": str(tmp_path / "models")}
    with ExitStack() as stack:
        for step in steps(guide):
            text = step.text.replace("8080", port)
            if step.file:
                (tmp_path / step.file).write_text(text)
            elif text.startswith("zeroserve serve"):
                serving(text, tmp_path, environment, stack)
            else:
                done = subprocess.run(
                    ["bash", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, (text, done.stderr)
                # What add says next is for a server on its usual port.
                expected = step.output if text.startswith("zeroserve") else step.output.replace("8080", port)
                pattern = ".*".join(map(re.escape, expected.split("...")))
                assert re.fullmatch(pattern, done.stdout.rstrip("\n"), re.DOTALL), (text, done.stdout)
