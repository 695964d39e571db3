"""A restore on another CPU: asked of a new process, answered by a second copy of ORT and the right artifact."""

from __future__ import annotations

import subprocess
import sys

import pytest

from function.engine import golden, snapstart
from function.engine.registry import Models
from function.native import cpu, ort_capi
from function.settings import Settings


@pytest.fixture
def models(digits_prepared: object) -> Models:
    """The digits model, loaded."""
    found = Models(Settings({}))
    found.get("digits")
    return found


def test_nothing_happens_on_the_same_cpu(models: Models) -> None:
    library, model = ort_capi.get_library(), models.get("digits")
    snapstart.verify(models)
    assert ort_capi.get_library() is library
    assert models.get("digits") is model


def test_another_cpu_gets_another_artifact_and_another_library(
    models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = golden.inputs(models.metadata("digits").inputs)
    before, library = golden.answer(models.get("digits").run(inputs)), ort_capi.get_library()
    monkeypatch.setattr(cpu, "_known", None)
    monkeypatch.setattr(ort_capi, "_api", library)
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout="avx fma", stderr="")
    )
    snapstart.verify(models)
    assert ort_capi.get_library() is not library
    assert models.get("digits").artifact.family == "portable"
    assert golden.difference(before, golden.answer(models.get("digits").run(inputs))) is None
    assert "restored on a CPU with ['avx', 'fma']" in capsys.readouterr().err


def test_the_handler_registers_the_check_and_warms_the_model(digits_prepared: object) -> None:
    pytest.importorskip("snapshot_restore_py", reason="it is Lambda's own, by its runtime client")
    script = (
        "import function.handler as h, snapshot_restore_py as s;"
        "print(h.APP.inference.models.loaded('digits'), [f.__name__ for f, *_ in s.get_after_restore()])"
    )
    environment = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "['verify']"], done.stderr
