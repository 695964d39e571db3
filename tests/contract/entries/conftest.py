"""Both entries over one model repository, for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.entries import repository as models
from tests.contract.entries.servers import ENTRIES
from tests.contract.entries.wire import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.entries.wire import Wire


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    models.build(folder)
    return folder


@pytest.fixture(scope="session")
def wires(repository: Path) -> Iterator[dict[str, Wire]]:
    with connected(repository) as found:
        yield found


@pytest.fixture(params=ENTRIES)
def wire(request: pytest.FixtureRequest, wires: dict[str, Wire]) -> Wire:
    """Each entry in turn."""
    return wires[request.param]
