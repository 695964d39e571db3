"""The cold start of somebody's own model: only right answers are timed, and what is missing is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench import results
from bench.cold import function, summary
from bench.cold.systems import PROCESS, RIE
from infra import requests
from models import manifest
from tests import support
from tests.contract.entries import sent_models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code = "def preprocess(i): return {'x': [[i, 1]]}\ndef postprocess(o): return o['total'].tolist()[0]"
    return sent_models.add(tmp_path_factory.mktemp("models") / "hooked", sent_models.sums(), processing=code)


def test_one_round(hooked: Path) -> None:
    model = manifest.read(hooked)
    call = requests.call(model, b'{"instances": [3]}', "here")
    document, answer = function.bench(model, call, 1, (PROCESS, RIE))
    assert json.loads(answer) == {"predictions": [4.0]}
    assert summary.cells(results.check(document)) == {"request": [RIE, PROCESS]}
    phases = summary.phases(document, PROCESS, "request")
    assert phases.keys() >= {"interpreter", "imports", "load", "decode", "infer", "encode"}
    assert sum(phases.values()) == pytest.approx(results.p50(document, PROCESS, "request", summary.FIRST), rel=0.05)
    assert f"  {RIE}" in summary.table(document)


def test_what_is_not_answered_well_is_said(hooked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.json").write_text('{"instances": [[1, 2]]}')
    arguments = ["--runs", "1", "--systems", PROCESS]
    assert function.main([str(hooked), str(tmp_path / "wrong.json"), *arguments]) == 1
    assert "error: status 500: " in capsys.readouterr().err
    support.write_folder(tmp_path / "raw", support.doubling())
    assert function.main([str(tmp_path / "raw"), *arguments]) == 1
    assert "raw is not prepared; run: zeroserve prepare" in capsys.readouterr().err
