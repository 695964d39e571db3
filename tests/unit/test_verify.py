"""`zeroserve verify`: a line for each artifact, and the command that mends where one is wrong."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from function.engine.artifact import PORTABLE, read_record, sealed
from function.native import cpu
from models import manifest, verify
from tests import support

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = cpu.family(cpu.flags())
OWN = FAMILY or PORTABLE


@pytest.fixture
def original(originals: Path) -> Path:
    return originals / "tiny"


@pytest.fixture
def model(original: Path, tmp_path: Path) -> manifest.Manifest:
    shutil.copytree(original, tmp_path / "tiny")
    return manifest.read(tmp_path / "tiny")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command's `main` with arguments; returns its exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["verify", *map(str, arguments)])
        code = verify.main()
        return (code, *capsys.readouterr())

    return run


def forge(folder: Path, **changes: object) -> None:
    """Rewrites a record so that its own checksum is right again."""
    record = read_record(str(folder)) | changes
    record.pop("crc32")
    (folder / "artifact.json").write_bytes(sealed(record))


def test_right_artifacts_have_a_line_each(model: manifest.Manifest, call: Any) -> None:
    code, out, err = call(model.folder)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"tiny: {family} ok: sha256 of 4 files, the golden input's answer" for family in sorted({OWN, PORTABLE})
    ]


def test_another_familys_artifact_is_not_run_and_said_not_to_be(model: manifest.Manifest, call: Any) -> None:
    shutil.copytree(model.prepared / PORTABLE, model.prepared / "neon")
    forge(model.prepared / "neon", family="neon")
    code, out, _ = call(model.folder)
    assert code == 0
    assert f"tiny: neon ok: sha256 of 4 files; the golden input was not run: this CPU is of the family {FAMILY}" in out


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin", "artifact.json", "../model.json", "../image.onnx"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_damage_is_named_with_the_command(name: str, damage: str, model: manifest.Manifest, call: Any) -> None:
    path = (model.prepared / PORTABLE / name).resolve()
    good = path.read_bytes()
    path.write_bytes(good[:-5] if damage == "cut" else good[:50] + bytes([good[50] ^ 1]) + good[51:])
    if damage == "remove":
        path.unlink()
    code, out, err = call(model.folder)
    assert code == 1
    [line] = [line for line in out.splitlines() if line.startswith(f"tiny: {PORTABLE} ")]
    assert path.name in line
    assert err == f"tiny: to mend: zeroserve prepare {model.folder}\n"
    support.prepare_here(model)
    assert call(model.folder)[0] == 0


def test_a_changed_byte_that_crc32_is_told_of_is_found_by_sha256(model: manifest.Manifest, call: Any) -> None:
    files = read_record(str(model.prepared / PORTABLE))["files"]
    files["weights.bin"]["sha256"] = "0" * 64
    forge(model.prepared / PORTABLE, files=files)
    code, out, _ = call(model.folder)
    assert code == 1
    assert "weights.bin is damaged: its sha256 is not the one of artifact.json" in out


@pytest.mark.parametrize("family", sorted({OWN, PORTABLE}))
def test_a_wrong_answer_is_found(family: str, model: manifest.Manifest, call: Any) -> None:
    golden = read_record(str(model.prepared / family))["golden"]
    golden["outputs"]["logits"][0] += 1
    forge(model.prepared / family, golden=golden)
    code, out, _ = call(model.folder)
    assert code == 1
    assert f"tiny: {family} output 'logits' has " in out


def test_a_graph_that_ort_refuses_is_found(model: manifest.Manifest, call: Any) -> None:
    folder, content = model.prepared / PORTABLE, b"no graph"
    files = read_record(str(folder))["files"]
    (folder / "model.onnx").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    files["model.onnx"] = {"bytes": len(content), "crc32": zlib.crc32(content), "sha256": sha256}
    forge(folder, files=files)
    code, out, _ = call(model.folder)
    assert code == 1
    assert f"tiny: {PORTABLE} " in out
    assert "model.onnx" in out


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ort_version": "1.0.0"}, "was built for another ort_version: '1.0.0', here it is '"),
        ({"model_sha256": "0"}, "was built for another model_sha256: '0'"),
        ({"version": "7"}, "was built for another version: '7', here it is '1'"),
        ({"family": "neon"}, "holds the artifact of neon"),
        ({"format": 0}, "was built for another format: 0"),
    ],
    ids=str,
)
def test_an_artifact_of_elsewhere_is_found(
    changes: dict[str, object], reason: str, model: manifest.Manifest, call: Any
) -> None:
    forge(model.prepared / PORTABLE, **changes)
    code, out, _ = call(model.folder)
    assert code == 1
    assert reason in out


@pytest.mark.parametrize("family", sorted({OWN, PORTABLE}))
def test_a_missing_artifact_is_found(family: str, model: manifest.Manifest, call: Any) -> None:
    shutil.rmtree(model.prepared / family)
    code, out, err = call(model.folder)
    assert code == 1
    assert f"tiny: {family} [Errno 2] No such file or directory" in out
    assert "to mend: zeroserve prepare" in err


def test_a_model_that_is_not_prepared(model: manifest.Manifest, call: Any) -> None:
    shutil.rmtree(model.prepared)
    code, out, err = call(model.folder)
    assert code == 1
    assert f"tiny: {PORTABLE} [Errno 2] No such file or directory" in out
    assert err == f"tiny: to mend: zeroserve prepare {model.folder}\n"


def test_one_wrong_model_of_several(model: manifest.Manifest, original: Path, call: Any) -> None:
    code, out, err = call("absent", original, model.folder)
    assert code == 1
    assert out.count(" ok: ") == 2 * len({OWN, PORTABLE})
    assert err.startswith("error: 'absent' is neither a model here (")
