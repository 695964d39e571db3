"""Both entries over one model repository, for all tests of this folder."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.contract.entries import repository as models
from tests.contract.entries.servers import ENTRIES, serve
from tests.contract.entries.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    models.build(folder)
    return folder


@contextmanager
def connected(repository: Path) -> Iterator[dict[str, Wire]]:
    """A connection to each entry over `repository`."""
    with ExitStack() as stack:
        found = {}
        for entry in ENTRIES:
            found[entry] = Wire(entry, stack.enter_context(serve(entry, repository, sys.executable)))
            stack.callback(found[entry].close)
        yield found


@pytest.fixture(scope="session")
def wires(repository: Path) -> Iterator[dict[str, Wire]]:
    with connected(repository) as found:
        yield found


@pytest.fixture(params=ENTRIES)
def wire(request: pytest.FixtureRequest, wires: dict[str, Wire]) -> Wire:
    """Each entry in turn."""
    return wires[request.param]
