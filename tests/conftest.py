"""Fixtures that any test may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models import manifest
from models.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def digits_prepared() -> Path:
    """The model repository of this project, with the embedded model prepared."""
    prepare(manifest.read(manifest.folder_of("digits")))
    return manifest.HERE
