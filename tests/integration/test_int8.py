"""`prepare --int8` of whole models: what `digits` and MobileNetV2 lose, and when it is made anew."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import onnx
import pytest

from function.engine.artifact import GRAPH, optimise_level, read_record
from function.engine.session import Session
from function.native import cpu
from models import manifest, quantise, verify
from models.manifest import ManifestError
from models.pictures import Pictures
from models.prepare import prepare
from tests import support

if TYPE_CHECKING:
    from pathlib import Path

SHARED = support.ROOT.parent / "shared"
RAW = SHARED / "models" / "mobilenetv2" / "model.onnx"
pytestmark = pytest.mark.skipif(not cpu.has_vnni(cpu.flags()), reason="the loss is measured on a CPU with VNNI")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "digits"
    shutil.copytree(manifest.HERE / "digits", folder, ignore=shutil.ignore_patterns("prepared"))
    prepare(manifest.read(folder), emulate=False, int8=True)
    return folder


@pytest.fixture
def model(original: Path, tmp_path: Path) -> manifest.Manifest:
    shutil.copytree(original, tmp_path / "digits")
    return manifest.read(tmp_path / "digits")


def test_what_was_measured_is_recorded_and_verified(model: manifest.Manifest) -> None:
    measured = read_record(str(model.prepared / cpu.INT8))["int8"]
    assert measured["held_out_pictures"] == 360
    assert measured["loss"] <= 0.3
    assert measured["logits_correlation"] > 0.99
    assert all(right for right, _ in verify.verify(model))


def test_a_plain_prepare_keeps_it(model: manifest.Manifest) -> None:
    assert "up to date" in prepare(model, emulate=False)[-1]
    assert "up to date" in prepare(model, emulate=False, int8=True)[-1]


def test_a_model_without_pictures_is_refused(tmp_path: Path) -> None:
    made = support.write_folder(tmp_path / "made", support.doubling())
    with pytest.raises(ManifestError, match="takes no pictures"):
        prepare(made, emulate=False, int8=True)
    assert not made.prepared.exists()


@pytest.mark.skipif(not RAW.is_file(), reason="needs MobileNetV2 and its photographs in ../shared")
def test_mobilenetv2_agrees_on_photographs(tmp_path: Path) -> None:
    """Three of them calibrate, so this is a bound against coarse faults, not its accuracy."""
    rule = support.IMAGE.replace('"logits"', '"output"').replace(f"[{support.SIDE}, {support.SIDE}]", "[224, 224]")
    model = support.write_folder(tmp_path / "mobilenet", onnx.load(RAW), rule)
    prepare(model, emulate=False, int8=True, calibration=SHARED / "images")
    photographs = [path.read_bytes() for path in sorted((SHARED / "images").iterdir()) if path.suffix != ".json"]
    session = Session(str(model.prepared / cpu.INT8 / GRAPH), optimise=optimise_level(cpu.INT8), threads=1)
    found = quantise.compare(model, session, Pictures([], photographs, None, "photographs"))
    assert found["top1_agreement"] == 100, found
    assert found["logits_correlation"] > 0.95, found
