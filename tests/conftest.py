"""Fixtures that any test may use."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from models import manifest
from models.prepare import prepare
from native import build

if TYPE_CHECKING:
    from pathlib import Path


def pytest_configure() -> None:
    """The JSON reader in C is the one of these sources, as `make` would have it."""
    library = build.INSTALLED / build.library_name(os.uname().machine)
    sources = [path for path in build.HERE.iterdir() if path.is_file()]
    if not library.exists() or library.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        with contextlib.suppress(build.BuildError):  # no compiler: Python reads JSON
            build.build(library, os.uname().machine, build.compiler_for(os.uname().machine))


@pytest.fixture(scope="session")
def digits_prepared() -> Path:
    """The model repository of this project, with the embedded model prepared."""
    prepare(manifest.read(manifest.folder_of("digits")))
    return manifest.HERE
