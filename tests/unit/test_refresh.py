"""Models.refresh, what SIGHUP does to a server: what was prepared again is loaded anew, nothing else is touched."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from function.engine.registry import Models
from function.settings import Settings
from models import manifest
from tests import support

if TYPE_CHECKING:
    from pathlib import Path


def prepare(folder: Path, version: str) -> None:
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace(f'version = "{int(version) - 1}"', f'version = "{version}"'))
    support.prepare_here(manifest.read(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    support.write_folder(tmp_path / "double", support.doubling())
    prepare(tmp_path / "double", "1")
    return tmp_path / "double"


@pytest.fixture
def models(folder: Path) -> Models:
    return Models(Settings({"MODEL_REPOSITORY": str(folder.parent)}))


def test_a_new_build_is_loaded_and_an_old_one_stays(folder: Path, models: Models) -> None:
    first = models.get("double")
    models.refresh()
    assert models.get("double") is first
    prepare(folder, "2")
    models.refresh()
    assert models.get("double") is not first
    assert models.metadata("double").version == "2"


def test_what_cannot_be_loaded_changes_nothing(
    folder: Path, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    first = models.get("double")
    prepare(folder, "2")
    (folder / "prepared" / "model.json").unlink()
    models.refresh()
    assert models.get("double") is first
    assert "the one that was loaded before serves" in capsys.readouterr().err
    shutil.rmtree(folder)
    models.refresh()
    assert models.get("double") is first


def test_what_was_loaded_from_elsewhere_stays(folder: Path, models: Models) -> None:
    prepare(folder, "2")
    shutil.copytree(folder, folder.parent / "copy")
    models.load("double", "copy")
    first = models.get("double")
    prepare(folder, "3")
    models.refresh()
    assert models.get("double") is first


def test_nothing_is_loaded_that_was_not(models: Models) -> None:
    models.refresh()
    assert not models.loaded("double")
