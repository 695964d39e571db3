"""The guard against another CPU's artifact, on CPUs that qemu-user plays: AVX-512 graphs where there is no AVX-512."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from function.engine.artifact import GRAPH, sealed
from function.engine.session import OPTIMISE_NONE, Session
from function.native import cpu
from tests import support

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

QEMU = shutil.which("qemu-x86_64")
pytestmark = [
    pytest.mark.skipif(QEMU is None, reason="qemu-x86_64 is not installed (Debian: qemu-user)"),
    pytest.mark.skipif(cpu.family(cpu.flags()) != "avx512", reason="an AVX-512 artifact can only be built on AVX-512"),
]
CPUS = ("Haswell", "Nehalem")  # with AVX2; without any AVX
# The models of one repository, and how each comes by an AVX-512 graph; Haswell looks into the folder `avx2`.
FORCED = {
    "alone": "no avx2 artifact: only avx512 and portable",
    "copied": "avx2 is a copy of avx512 as it is",
    "edited": "avx2 is a copy of avx512 whose artifact.json was edited to say avx2",
}
# One process answers for all, as starting Python and ORT is what takes time under qemu. Each line is flushed, for
# the last graph may end the process.
PROGRAM = """
import json, sys
from function.native import cpu
from function.engine.session import OPTIMISE_NONE, Session
from function.errors import PredictError
from function.native.ort_capi import OrtError
from function.engine.registry import Models
from function.settings import Settings
from function.tensor import Tensor

def say(name, **found):
    print(json.dumps({"name": name, **found}), flush=True)

def answer(run):
    try:
        return run({"input": x})["logits"].data.hex()
    except OrtError as error:
        return str(error)

repository, data, side, graph, *names = sys.argv[1:]
x = Tensor("FP32", (1, 3, int(side), int(side)), open(data, "rb").read())
say("cpu", flags=sorted(cpu.flags()), family=cpu.family(cpu.flags()))
models = Models(Settings({"MODEL_REPOSITORY": repository}))
for name in names:
    model = models.get(name)
    say(name, family=model.artifact.family, logits=answer(model.run))
checked = Models(Settings({"MODEL_REPOSITORY": repository, "VERIFY_ARTIFACTS": "1"}))
try:
    checked.get("forged")
    say("forged", refused=None)
except PredictError as error:
    say("forged", refused=error.message, code=error.code)
say("unguarded", logits=answer(Session(graph, optimise=OPTIMISE_NONE, threads=1).run))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of FORCED, and one whose record is forged so that nothing but its answer gives it away."""
    folder = tmp_path_factory.mktemp("models")
    for name in (*FORCED, "forged"):
        model = support.write_folder(folder / name, support.classifier(), support.IMAGE)
        support.prepare_natively(model)
        if name == "alone":
            continue
        avx2 = model.prepared / "avx2"
        shutil.copytree(model.prepared / "avx512", avx2)
        changes = {"family": "avx2", "flags": ["avx2", "fma"]}
        if name == "edited":
            support.edit_json(avx2 / "artifact.json", **changes)
        if name == "forged":
            record = json.loads((avx2 / "artifact.json").read_text())
            record.pop("crc32")
            (avx2 / "artifact.json").write_bytes(sealed(record | changes))
    return folder


@pytest.fixture(scope="module")
def expected(repository: Path) -> NDArray[np.float32]:
    """What the AVX-512 artifact answers where it belongs: here."""
    session = Session(str(repository / "alone" / "prepared" / "avx512" / GRAPH), optimise=OPTIMISE_NONE, threads=1)
    return support.logits(session.run({"input": support.picture()}))


class Played:
    """What one played CPU answered: found[name] is the line about it, `log` its standard error."""

    def __init__(self, model: str, repository: Path, data: Path) -> None:
        graph = repository / "alone" / "prepared" / "avx512" / GRAPH
        arguments = (repository, data, support.SIDE, graph, *FORCED)
        command = [str(QEMU), "-cpu", model, sys.executable, "-c", PROGRAM, *map(str, arguments)]
        environ = {**os.environ, "PYTHONPATH": str(support.ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=300, check=False)
        self.log = done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.found: dict[str, dict[str, Any]] = {line.pop("name"): line for line in lines}
        missing = {"cpu", *FORCED, "forged"} - set(self.found)
        assert not missing, f"{missing} got no answer on {model}:\n{done.stderr}"

    def logits(self, name: str) -> NDArray[np.float32] | None:
        """The answer as an array; None when it was refused or ended the process."""
        said = self.found.get(name, {}).get("logits", "")
        if not re.fullmatch("[0-9a-f]+", said):
            return None
        return np.frombuffer(bytes.fromhex(said), np.float32).reshape(1, support.CLASSES)


@pytest.fixture(scope="module", params=CPUS)
def played(request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    data = support.picture().data
    assert isinstance(data, bytes)
    path = tmp_path_factory.mktemp("input") / "input"
    path.write_bytes(data)
    return Played(request.param, repository, path)


def test_the_played_cpu_is_seen_instead_of_the_hosts(played: Played) -> None:
    assert "avx512f" not in played.found["cpu"]["flags"]
    assert played.found["cpu"]["family"] in ("avx2", None)


@pytest.mark.parametrize("name", FORCED)
def test_the_guard_falls_back_and_the_answer_stays_right(
    name: str, played: Played, expected: NDArray[np.float32]
) -> None:
    assert played.found[name]["family"] == "portable", FORCED[name]
    got = played.logits(name)
    assert got is not None, played.found[name]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    assert np.argmax(got) == np.argmax(expected)


def test_each_fallback_warns_once_and_says_why(played: Played) -> None:
    warnings = [line for line in played.log.splitlines() if line.startswith("zeroserve: warning:")]
    for name in FORCED:
        [warning] = [line for line in warnings if f"/{name}" in line]
        assert "the portable artifact serves" in warning
    if played.found["cpu"]["family"] == "avx2":
        assert "No such file" in next(line for line in warnings if "/alone" in line)
        assert "family is 'avx512', here it is 'avx2'" in next(line for line in warnings if "/copied" in line)
        assert "was edited" in next(line for line in warnings if "/edited" in line)
    else:
        assert all("no artifact family fits the CPU flags" in line for line in warnings)


def test_without_the_guard_the_answer_is_wrong(played: Played, expected: NDArray[np.float32]) -> None:
    """Why there is a guard: the same graph loaded straight is refused, ends the process, or answers wrongly."""
    got = played.logits("unguarded")
    assert got is None or np.abs(got - expected).max() > 1e-2 * np.abs(expected).max()


def test_the_golden_input_gives_even_a_forged_record_away(played: Played) -> None:
    found = played.found["forged"]
    if played.found["cpu"]["family"] == "avx2":
        assert found["code"] == "UNAVAILABLE"
        assert "zeroserve prepare" in found["refused"]
    else:  # the portable artifact serves whatever the record of avx2 says
        assert found["refused"] is None
