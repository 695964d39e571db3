"""8-bit integers: which CPU gets them, what is passed over, and what `prepare --int8` refuses."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from function.engine import artifact, repository
from function.engine.artifact import PORTABLE, choose, read_record
from function.engine.registry import Models
from function.native import cpu, ort_capi
from function.settings import Settings
from models import manifest, quantise, record, verify
from models.manifest import ManifestError
from tests import support

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VNNI = frozenset({"avx512_vnni", "avx_vnni"})
WITHOUT = cpu.flags() - VNNI
FAMILY = cpu.family(WITHOUT) or PORTABLE
on_vnni = pytest.mark.skipif(not cpu.has_vnni(cpu.flags()), reason="the loss is measured on a CPU with VNNI")


@pytest.fixture
def model(originals: Path, tmp_path: Path) -> manifest.Manifest:
    """A copy of a small model, prepared without --int8."""
    shutil.copytree(originals / "tiny", tmp_path / "tiny")
    return manifest.read(tmp_path / "tiny")


@pytest.fixture
def prepared(model: manifest.Manifest) -> Path:
    """With an artifact in the place of the one of integers: what is chosen does not depend on what the graph holds."""
    golden = read_record(str(model.prepared / PORTABLE))["golden"]["outputs"]
    support.edit_json(model.prepared / "model.json", int8={"fp32": "", "pictures": ""})
    shutil.copytree(model.prepared / PORTABLE, model.prepared / cpu.INT8)
    shared = sorted(path.name for path in model.prepared.iterdir() if path.is_file())
    for folder in model.prepared.glob("*/"):
        (folder / artifact.RECORD).unlink()
        record.write(model, folder, shared, golden)
    return model.prepared


def chosen(prepared: Path, flags: frozenset[str]) -> artifact.Artifact:
    return choose(
        repository.read(str(prepared.parent.parent), "tiny"), ort_capi.get_library().version, frozenset(flags)
    )


# --- which is chosen


@pytest.mark.parametrize("vnni", sorted(VNNI))
def test_a_cpu_with_vnni_gets_the_integers(vnni: str, prepared: Path) -> None:
    found = chosen(prepared, WITHOUT | {vnni})
    assert (found.family, found.warning) == (cpu.INT8, None)
    assert found.graph == str(prepared / cpu.INT8 / artifact.GRAPH)


def test_a_cpu_without_vnni_gets_fp32(prepared: Path) -> None:
    assert chosen(prepared, WITHOUT).family == FAMILY


def test_a_model_that_was_prepared_without_int8_serves_fp32(model: manifest.Manifest) -> None:
    found = chosen(model.prepared, WITHOUT | VNNI)
    assert found.family == FAMILY
    assert "--int8" not in (found.warning or "")


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def cut(folder: Path) -> None:
    path = folder / artifact.GRAPH
    path.write_bytes(path.read_bytes()[:-7])


def age(folder: Path) -> None:
    document = read_record(str(folder)) | {"ort_version": "1.0.0"}
    document.pop("crc32")
    (folder / artifact.RECORD).write_bytes(artifact.sealed(document))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(remove, "No such file"), (cut, "model.onnx has "), (age, "ort_version is '1.0.0', here it is ")],
)
def test_a_stale_or_damaged_one_is_passed_over(damage: Callable[[Path], None], reason: str, prepared: Path) -> None:
    damage(prepared / cpu.INT8)
    found = chosen(prepared, WITHOUT | VNNI)
    assert found.family == FAMILY
    assert found.warning is not None
    assert reason in found.warning
    assert f"; the {FAMILY} artifact serves, inference takes longer. To mend: " in found.warning
    assert found.warning.endswith(f"zeroserve prepare {prepared.parent} --int8")


def test_one_of_another_version_of_onnx_runtime_is_not_even_opened(prepared: Path) -> None:
    age(prepared / cpu.INT8)
    with patch("function.native.cpu._known", WITHOUT | VNNI):
        loaded = Models(Settings({"MODEL_REPOSITORY": str(prepared.parent.parent)})).get("tiny")
    assert loaded.artifact.family == FAMILY


# --- what is made


def pictures(folder: Path, count: int = 12) -> Path:
    """Noise, of which each fourth is held out."""
    folder.mkdir()
    random = np.random.default_rng(3)
    for index in range(count):
        pixels = random.integers(0, 256, (support.SIDE, support.SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(model: manifest.Manifest, calibration: Path) -> str:
    """One line; nothing is left behind, and what was there stays."""
    before = content(model.folder)
    with pytest.raises(ManifestError) as caught:
        support.prepare_here(model, calibration=calibration)
    assert content(model.folder) == before
    assert not list(model.folder.glob(".prepare-*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def allow(model: manifest.Manifest, loss: float) -> manifest.Manifest:
    toml = model.folder / "model.toml"
    toml.write_text(f"{toml.read_text()}[int8]\nallowed_loss = {loss}\n")
    return manifest.read(model.folder)


@on_vnni
def test_what_loses_more_than_is_allowed_is_refused(model: manifest.Manifest, tmp_path: Path) -> None:
    """Other weights in the place of the quantised ones: another class for most pictures."""

    def quantise_badly(_: manifest.Manifest, target: Path, __: object) -> None:
        support.save(support.classifier(5), target)

    with patch("models.quantise._quantise", quantise_badly):
        message = refusal(allow(model, 0.5), pictures(tmp_path / "pictures", 80))
    assert message.startswith("tiny in int8: the class of FP32 for ")
    assert "0.5 allowed; more than is allowed. Calibrate with other pictures, or allow more under [int8] in " in message


@on_vnni
def test_what_was_measured_is_recorded_shown_and_verified(model: manifest.Manifest, tmp_path: Path) -> None:
    lines = support.prepare_here(allow(model, 100), calibration=pictures(tmp_path / "pictures"))
    model = manifest.read(model.folder)
    measured = read_record(str(model.prepared / cpu.INT8))["int8"]
    assert (measured["calibration_pictures"], measured["held_out_pictures"]) == (9, 3)
    assert (measured["accuracy"], measured["allowed_loss"]) == (None, 100)
    assert f"tiny: {cpu.INT8} built: {quantise.recorded(model)}" in lines
    results = dict(zip(sorted({PORTABLE, FAMILY, cpu.INT8}), verify.verify(model), strict=True))
    assert all(right for right, _ in results.values()), results
    assert results[cpu.INT8][1].endswith(f"when it was made: {quantise.recorded(model)}")
    assert Models(Settings({"MODEL_REPOSITORY": str(model.folder.parent)})).get("tiny").artifact.family == cpu.INT8


@on_vnni
def test_a_golden_answer_of_its_own_is_held_against_its_record(model: manifest.Manifest, tmp_path: Path) -> None:
    support.prepare_here(allow(model, 100), calibration=pictures(tmp_path / "pictures"))
    folder = model.prepared / cpu.INT8
    document = read_record(str(folder))
    document.pop("crc32")
    document["golden"]["outputs"]["logits"][0] += 1
    (folder / artifact.RECORD).write_bytes(artifact.sealed(document))
    wrong = [line for right, line in verify.verify(manifest.read(model.folder)) if not right]
    assert len(wrong) == 1
    assert wrong[0].startswith(f"tiny: {cpu.INT8} output 'logits' has ")


def test_a_cpu_without_vnni_makes_none(model: manifest.Manifest, tmp_path: Path) -> None:
    with patch("function.native.cpu._known", WITHOUT):
        message = refusal(model, pictures(tmp_path / "pictures"))
    assert message.startswith("--int8 needs a CPU with AVX512-VNNI or AVX-VNNI")


@on_vnni
def test_a_folder_without_pictures_is_refused(model: manifest.Manifest, tmp_path: Path) -> None:
    assert "has 1 JPEG, PNG or WebP pictures; at least 2" in refusal(model, pictures(tmp_path / "pictures", 1))


@pytest.mark.parametrize("loss", ["-1", "101"])
def test_a_loss_that_cannot_be(loss: str, model: manifest.Manifest) -> None:
    with pytest.raises(ManifestError, match=r"\[int8\] allowed_loss is .*; 0 to 100 percentage points are expected"):
        allow(model, float(loss))
