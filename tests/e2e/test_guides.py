"""docs/guides: every file is written and every command run as it stands there, and prints what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from bench import cache
from tests.contract.entries.servers import ENTRIES, ROOT, serve

GUIDES = ROOT / "docs" / "guides"
DOWNLOADS = {"text": "84 MB", "speech": "4 MB", "ocr": "27 MB"}  # they run with TEST_STRANGERS=1 alone
_BLOCK = re.compile(r"(?:^`([\w./-]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Step(NamedTuple):
    """A file to write, or a command and what it prints."""

    file: str
    text: str
    output: str


def steps(guide: str) -> list[Step]:
    found = []
    for file, kind, text in _BLOCK.findall((GUIDES / f"{guide}.md").read_text(encoding="utf-8")):
        if file:
            found.append(Step(file, text, ""))
        elif kind == "console":
            for part in text.removeprefix("$ ").split("\n$ "):
                line, _, output = part.partition("\n")
                found.append(Step("", line, output.rstrip("\n")))
    return found


def test_every_guide_says_something() -> None:
    assert {path.stem for path in GUIDES.glob("*.md")} >= {"table", "processing", "fraud", *DOWNLOADS}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("guide", ["gateway", "table", "processing", "fraud", *DOWNLOADS])
def test_a_guide_does_what_it_says(guide: str, tmp_path: Path) -> None:
    if guide in DOWNLOADS and not os.environ.get("TEST_STRANGERS"):
        pytest.skip(f"set TEST_STRANGERS=1: it downloads {DOWNLOADS[guide]}")
    if guide == "speech" and shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed (Debian: apt-get install espeak-ng)")
    script = tmp_path / "bin" / "zeroserve"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/zeroserve/__main__.py" "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    for name in ("URL", "REDIS"):
        environment.pop(name, None)
    with ExitStack() as stack:
        for step in steps(guide):
            if step.file:
                (tmp_path / step.file).parent.mkdir(exist_ok=True)
                (tmp_path / step.file).write_text(step.text)
                continue
            if "$REDIS" in step.text and "REDIS" not in environment:
                if cache.VALKEY is None:
                    pytest.skip("neither valkey-server nor redis-server is installed (Debian: redis-server)")
                environment["REDIS"] = stack.enter_context(cache.valkey())
                environment["FEATURES_DEADLINE_MS"] = "20000"  # a busy machine must not meet it
            addresses = [""]
            if "$URL" in step.text:
                if "URL" not in environment:
                    (model,) = (each.parent.parent.name for each in tmp_path.glob("*/prepared/model.json"))
                    served = [serve(entry, tmp_path, sys.executable, MODEL_NAME=model) for entry in ENTRIES]
                    environment["URL"] = " ".join(f"http://{stack.enter_context(each)}" for each in served)
                addresses = environment["URL"].split()
            for address in addresses:
                done = subprocess.run(
                    ["bash", "-c", step.text],
                    cwd=tmp_path,
                    env=environment | {"URL": address},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, (step.text, done.stderr)
                pattern = ".*".join(map(re.escape, step.output.split("...")))
                assert re.fullmatch(pattern, done.stdout.rstrip("\n"), re.DOTALL), (step.text, done.stdout[:600])
