"""Fixtures that any test may use."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest

from function.limits import LIMITS
from models import manifest
from models.prepare import prepare
from native import build
from tests import support

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_configure() -> None:
    """The JSON reader in C is the one of these sources, as `make` would have it."""
    library = build.INSTALLED / build.library_name(os.uname().machine)
    sources = [path for path in build.HERE.iterdir() if path.is_file()]
    if not library.exists() or library.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        with contextlib.suppress(build.BuildError):  # no compiler: Python reads JSON
            build.build(library, os.uname().machine, build.compiler_for(os.uname().machine))


@pytest.fixture(autouse=True)
def limits_as_before() -> Iterator[None]:
    """A handler or server that a test makes sets the limits of this whole process; the next test has its own again."""
    before = {name: getattr(LIMITS, name) for name in LIMITS.__slots__}
    yield
    for name, value in before.items():
        setattr(LIMITS, name, value)


@pytest.fixture(scope="session")
def digits_prepared() -> Path:
    """The model repository of this project, with the embedded model prepared."""
    prepare(manifest.read(manifest.folder_of("digits")))
    return manifest.HERE


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two small models that differ in nothing but their weights, prepared; never changed."""
    folder = tmp_path_factory.mktemp("originals")
    for seed, name in enumerate(("tiny", "other")):
        support.prepare_here(support.write_folder(folder / name, support.classifier(seed), support.IMAGE))
    return folder


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children take SIGINT as they would at a terminal, also where this process was started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
