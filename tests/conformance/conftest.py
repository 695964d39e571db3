"""Servers for clients whose packages do not fit into the project's own environment: `make test-conformance`.

These tests run in an environment of their own (requirements/conformance.txt) and start the servers in the project's.
"""

from __future__ import annotations

import importlib.util
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.contract.entries.servers import ENTRIES, ROOT, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYTHON = ROOT / ".venv" / "bin" / "python"
# In the project's own environment there is nothing to collect here.
collect_ignore_glob = [] if importlib.util.find_spec("schemathesis") else ["test_*.py"]


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Entry -> http://HOST:PORT, both over the models of tests/contract/entries/repository.py."""
    repository: Path = tmp_path_factory.mktemp("repository")
    command = [str(PYTHON), "-m", "tests.contract.entries.repository", str(repository)]
    subprocess.run(command, cwd=ROOT, check=True)
    with ExitStack() as stack:
        yield {entry: f"http://{stack.enter_context(serve(entry, repository, str(PYTHON)))}" for entry in ENTRIES}
