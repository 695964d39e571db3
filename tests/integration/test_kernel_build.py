"""native.build: the JSON reader's library, by the machine's own compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from native import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_the_machines_compiler_builds_it(tmp_path: Path) -> None:
    build.build(tmp_path / "made.so", "here", build.compiler_for(os.uname().machine))
    assert ctypes.CDLL(str(tmp_path / "made.so")).zs_paths() >= 0
    assert [path.name for path in tmp_path.iterdir()] == ["made.so"]
    with pytest.raises(build.BuildError, match="false failed for here"):
        build.build(tmp_path / "other.so", "here", ["false"])
    assert not (tmp_path / "other.so").exists()


def test_without_a_compiler_it_is_said_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For packages it is a failure, which `make` has to see."""
    monkeypatch.setattr(build, "INSTALLED", tmp_path)
    monkeypatch.setattr(build, "ZIG", tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    for arguments, code in ((["build"], 0), (["build", "--all"], 1)):
        monkeypatch.setattr(sys, "argv", arguments)
        assert build.main() == code
        assert "Until then JSON is read by Python, which is many times slower" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
