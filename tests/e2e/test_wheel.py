"""The wheel in an environment of its own and an empty folder: nothing of the checkout, and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from typing import TYPE_CHECKING

import pytest

from infra import wheel
from layer import stage
from tests import support

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    return folder / wheel.build_wheel(str(folder))


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of an environment that has the wheel, and its requirements from this environment."""
    folder = tmp_path_factory.mktemp("installed")
    environment, empty = folder / "venv", folder / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built)], check=True, cwd=empty, timeout=120)

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": f"{environment / 'bin'}:{os.defpath}", "HOME": str(folder / "home"), **variables}
        environ |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(command, cwd=empty, env=environ, capture_output=True, text=True, timeout=240, check=False)

    return run


def test_everything_lies_below_one_package(built: Path) -> None:
    names = zipfile.ZipFile(built).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"zeroserve"}
    for wanted in ("function/handler.py", "models/digits/model.onnx", "layer/rules.py", "requirements/function.txt"):
        assert f"zeroserve/home/{wanted}" in names
    assert f"zeroserve/home/layer/{stage.WRAPPER}" in names  # without it `package` writes no layer
    assert not [name for name in names if "prepared/" in name or "__pycache__" in name]


def test_the_same_files_make_the_same_bytes(built: Path, tmp_path: Path) -> None:
    again = tmp_path / wheel.build_wheel(str(tmp_path))
    assert again.read_bytes() == built.read_bytes()
    source = wheel.build_sdist(str(tmp_path))
    shutil.unpack_archive(tmp_path / source, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert (unpacked / "PKG-INFO").read_text() == wheel.metadata()
    done = subprocess.run(
        [sys.executable, "-c", "from infra.wheel import build_wheel; print(build_wheel('.'))"],
        cwd=unpacked, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (unpacked / done.stdout.strip()).read_bytes() == built.read_bytes()


def test_run_shows_the_digits_without_a_network(installed: Run) -> None:
    done = installed("zeroserve", "run")
    assert done.returncode == 0, done.stderr
    assert "held-out digit no. 24 (a 0)" in done.stdout
    assert "the plain server runs the same function instead" in done.stderr


def test_a_model_is_added_listed_and_asked(installed: Run, tmp_path: Path) -> None:
    path = support.save(support.doubling(), tmp_path / "double.onnx")
    done = installed("zeroserve", "add", str(path))
    assert done.returncode == 0, done.stderr
    assert "answers as onnxruntime does" in done.stdout
    assert "y  FP32 [1]" in installed("zeroserve", "predict", "double").stdout
    assert "double" in installed("zeroserve", "list").stdout
    done = installed("python", "-c", "import function")
    assert "ModuleNotFoundError" in done.stderr
