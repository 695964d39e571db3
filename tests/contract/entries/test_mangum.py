"""The alternative Lambda entry of docs/api.md, Mangum over the ASGI app, in the real emulator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from infra.emulator import AWSLAMBDARIC, Emulator
from infra.front import FunctionUrl
from tests.contract.entries.servers import ROOT
from tests.contract.entries.valid import VALID
from tests.contract.entries.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def documented_entry() -> str:
    """The Python block of docs/api.md that imports Mangum."""
    blocks = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split("```python\n")[1:]
    (found,) = [block.partition("```")[0] for block in blocks if "from mangum import Mangum" in block]
    return found


@pytest.fixture(scope="module")
def mangum(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder = tmp_path_factory.mktemp("mangum")
    (folder / "mangum_entry.py").write_text(documented_entry())
    variables = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "colours", "PYTHONPATH": str(ROOT)}
    with (
        Emulator("mangum_entry.handler", client=AWSLAMBDARIC, env=variables, cwd=folder) as emulator,
        FunctionUrl(emulator) as front,
    ):
        wire = Wire("mangum", front.url.removeprefix("http://"))
        yield wire
        wire.close()


def test_it_answers_as_the_other_entries(mangum: Wire, wires: dict[str, Wire]) -> None:
    for path in ("/", "/health", "/ready", "/v2", "/v2/models/mixed", "/v2/models/nobody", "/nothing"):
        assert mangum.get(path).body == wires["lambda"].get(path).body
    for valid in VALID:
        answer, expected = mangum.post(*valid), wires["lambda"].post(*valid)
        assert answer.status == 200, answer.body
        assert answer.body == expected.body
        assert answer.headers["content-type"] == expected.headers["content-type"]


def test_it_refuses_as_the_other_entries(mangum: Wire, wires: dict[str, Wire]) -> None:
    for body in (b"", b"{", b"[]", json.dumps({"inputs": []}).encode(), b"\xff\xfe"):
        answer, expected = (wire.infer("mixed", body) for wire in (mangum, wires["lambda"]))
        assert (answer.status, answer.body) == (400, expected.body)
