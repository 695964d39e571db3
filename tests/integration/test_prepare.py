"""Preparing: the same bytes every time, nothing built twice, damage mended, and no half-built folder left behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from function.engine import golden
from function.engine.artifact import PORTABLE, read_record
from function.engine.registry import Models
from function.native import cpu
from function.settings import Settings
from function.tensor import Spec
from models import emulators, manifest, prepare, verify
from models.manifest import ManifestError
from tests import support

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

FAMILY = cpu.family(cpu.flags())
BUILT = {PORTABLE, *([FAMILY] if FAMILY else [])}
QEMU = shutil.which("qemu-x86_64")


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model, prepared."""
    folder = tmp_path_factory.mktemp("original") / "tiny"
    support.prepare_natively(support.write_folder(folder, support.classifier(), support.IMAGE))
    return folder


@pytest.fixture
def model(original: Path, tmp_path: Path) -> manifest.Manifest:
    """A copy of it, to be changed."""
    shutil.copytree(original, tmp_path / "tiny")
    return manifest.read(tmp_path / "tiny")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(model: manifest.Manifest) -> str:
    """What `prepare` refuses with; it leaves nothing behind that it began."""
    before = content(model.folder)
    with pytest.raises(ManifestError) as caught:
        support.prepare_natively(model)
    assert content(model.folder) == before
    return str(caught.value)


# --- what is built


def test_the_portable_artifact_and_this_cpus_are_built(model: manifest.Manifest) -> None:
    assert {path.name for path in model.prepared.glob("*/")} == BUILT
    for family in BUILT:
        record = read_record(str(model.prepared / family))
        assert (record["family"], record["model"], record["version"]) == (family, "tiny", "1")
        assert record["model_sha256"] == model.file.sha256
        assert record["ort_version"] == onnxruntime.__version__
        assert set(record["flags"]) == set(cpu.FAMILIES.get(family, ()))
        assert {"model.onnx", "weights.bin"} <= set(record["files"])


def test_the_golden_answer_is_the_raw_models(model: manifest.Manifest) -> None:
    specs = {spec.name: Spec(spec.name, spec.datatype, tuple(spec.shape)) for spec in model.inputs}
    data = golden.inputs(specs)["input"].data
    assert isinstance(data, bytes)
    values = np.frombuffer(data, np.float32).reshape(1, 3, support.SIDE, support.SIDE)
    raw = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    [expected] = raw.run(None, {"input": values})
    for family in BUILT:
        recorded = read_record(str(model.prepared / family))["golden"]["outputs"]["logits"]
        np.testing.assert_allclose(recorded, np.asarray(expected)[0], rtol=1e-5, atol=1e-6)


def test_weights_lie_outside_the_graph(model: manifest.Manifest) -> None:
    for family in BUILT:
        folder = model.prepared / family
        assert (folder / "weights.bin").stat().st_size > 3 * (folder / "model.onnx").stat().st_size


def test_two_builds_give_the_same_bytes(model: manifest.Manifest, original: Path) -> None:
    """Also in another folder: no path, time or random number gets in."""
    lines = support.prepare_natively(model, force=True)
    assert {f"tiny: {family} built, 0.0 MB" for family in BUILT} <= set(lines)
    assert content(model.prepared) == content(original / "prepared")


@pytest.mark.parametrize("made", [support.doubling(), support.mixed()], ids=["doubling", "mixed"])
def test_a_model_without_weights_or_picture(made: ModelProto, tmp_path: Path) -> None:
    written = support.write_folder(tmp_path / "made", made)
    support.prepare_natively(written)
    assert not (written.prepared / "image.onnx").exists()
    models = Models(Settings({"MODEL_REPOSITORY": str(tmp_path), "VERIFY_ARTIFACTS": "1"}))
    assert models.get("made").artifact.family == (FAMILY or PORTABLE)


@pytest.mark.skipif(QEMU is None or FAMILY != "avx512", reason="needs qemu-x86_64 and an AVX-512 machine")
def test_the_embedded_model_has_the_other_familys_artifact_too(digits_prepared: Path) -> None:
    model = manifest.read(digits_prepared / "digits")
    assert {path.name for path in model.prepared.glob("*/")} == {"avx2", "avx512", PORTABLE}
    results = list(verify.verify(model))
    assert [right for right, _ in results] == [True] * 3, results


# --- what is left out


@pytest.mark.skipif(FAMILY != "avx512", reason="the lines are those of an AVX-512 machine")
def test_a_family_without_emulator_is_said_to_be_left_out(model: manifest.Manifest) -> None:
    lines = support.prepare_natively(model, force=True)
    assert lines[0] == (
        "avx2 left out: qemu-x86_64 is not installed (Debian: qemu-user); the portable artifact serves there"
    )


@pytest.mark.skipif(FAMILY not in ("avx2", "avx512"), reason="a machine with x86's families")
def test_a_family_without_a_cpu_is_said_to_be_left_out(
    model: manifest.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulators, "EMULATED", {})
    absent = {"avx2", "avx512"} - {str(FAMILY)}
    lines = support.prepare_natively(model, force=True)
    for family in absent:
        assert f"{family} left out: it needs such a CPU; the portable artifact serves there" in lines


@pytest.mark.skipif(FAMILY != "avx512", reason="avx2 is emulated on an AVX-512 machine")
def test_an_emulator_that_fails_leaves_its_family_out(
    model: manifest.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As does a qemu-user without AVX2: the other artifacts are built all the same, and once only."""
    script = "import sys; sys.exit('no such CPU')"
    monkeypatch.setattr(emulators, "EMULATED", {os.uname().machine: {"avx2": (sys.executable, "-c", script)}})
    lines = prepare.prepare(model)
    assert "tiny: avx2 left out: no such CPU; the portable artifact serves there" in lines
    assert {path.name for path in model.prepared.glob("*/")} == BUILT
    assert prepare.prepare(model) == [f"tiny: {model.prepared} is up to date"]


# --- nothing is built twice, and damage is mended


def test_what_is_up_to_date_is_kept(model: manifest.Manifest) -> None:
    with patch("models.prepare._build", side_effect=AssertionError("built again")):
        assert support.prepare_natively(model) == [f"tiny: {model.prepared} is up to date"]


def test_the_raw_file_is_not_needed_while_nothing_changes(model: manifest.Manifest) -> None:
    model.path.unlink()
    assert support.prepare_natively(model) == [f"tiny: {model.prepared} is up to date"]


@pytest.mark.parametrize("change", ["version = '2'", "labels = 'labels.txt'"])
def test_a_changed_manifest_builds_again(change: str, model: manifest.Manifest) -> None:
    toml = model.folder / "model.toml"
    text = toml.read_text().replace('version = "1"\n', "" if "version" in change else 'version = "1"\n')
    toml.write_text(f"{change}\n{text}")
    (model.folder / "labels.txt").write_text("".join(f"label {index}\n" for index in range(support.CLASSES)))
    changed = manifest.read(model.folder)
    assert "built" in support.prepare_natively(changed)[-1]
    metadata = Models(Settings({"MODEL_REPOSITORY": str(model.folder.parent)})).get("tiny").metadata
    assert (metadata.version, metadata.labels) == (changed.version, changed.labels)
    assert "up to date" in support.prepare_natively(changed)[0]


@pytest.mark.parametrize("name", ["model.json", "image.onnx", f"{PORTABLE}/weights.bin", f"{PORTABLE}/artifact.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_the_command_that_mends_really_mends(name: str, damage: str, model: manifest.Manifest, original: Path) -> None:
    path = model.prepared / name
    good = path.read_bytes()
    path.write_bytes({"cut": good[:-5], "flip": good[:9] + bytes([good[9] ^ 1]) + good[10:], "remove": b""}[damage])
    if damage == "remove":
        path.unlink()
    assert "built" in support.prepare_natively(model)[-1]
    assert content(model.prepared) == content(original / "prepared")


@pytest.mark.parametrize("family", [PORTABLE, "neon"])
def test_an_artifact_removed_or_put_in_by_hand_builds_again(
    family: str, model: manifest.Manifest, original: Path
) -> None:
    if family == PORTABLE:
        shutil.rmtree(model.prepared / PORTABLE)
    else:
        shutil.copytree(model.prepared / PORTABLE, model.prepared / family)
    assert "built" in support.prepare_natively(model)[-1]
    assert content(model.prepared) == content(original / "prepared")


# --- what is refused


def test_a_missing_raw_file(model: manifest.Manifest) -> None:
    shutil.rmtree(model.prepared)
    model.path.unlink()
    assert refusal(model) == f"{model.path} is missing"


def test_a_missing_raw_file_that_can_be_pulled(model: manifest.Manifest) -> None:
    shutil.rmtree(model.prepared)
    model.path.unlink()
    toml = model.folder / "model.toml"
    toml.write_text(toml.read_text().replace("[file]", '[file]\nsources = ["https://example.com/model.onnx"]'))
    message = refusal(manifest.read(model.folder))
    assert message == f"{model.path} is missing; run: zeroserve pull {model.folder}"


@pytest.mark.parametrize("altered", [b"", b"short", None], ids=["empty", "short", "flipped"])
def test_a_raw_file_that_is_not_the_pinned_one(altered: bytes | None, model: manifest.Manifest) -> None:
    shutil.rmtree(model.prepared)
    good = model.path.read_bytes()
    model.path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]) if altered is None else altered)
    message = refusal(model)
    assert message.startswith(f"{model.path} has {model.path.stat().st_size} bytes and sha256 ")
    assert message.endswith(f"; model.toml says {len(good)} and {model.file.sha256}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[-1, 3, 16, 16]", "[1, 3, 16, 16]", "the inputs of "),
        ('"FP32"\nshape = [-1, 10]', '"FP64"\nshape = [-1, 10]', "the outputs of "),
        ('name = "logits"\n', 'name = "scores"\n', "the outputs of "),
    ],
)
def test_tensors_that_are_not_the_files(old: str, new: str, message: str, model: manifest.Manifest) -> None:
    toml = model.folder / "model.toml"
    text = toml.read_text().split("[image]")[0]
    assert old in text
    toml.write_text(text.replace(old, new))
    said = refusal(manifest.read(model.folder))
    assert said.startswith(f"{message}{model.path} are {{'")
    assert "; model.toml says {'" in said


def test_a_raw_file_that_is_no_model(tmp_path: Path) -> None:
    model = support.write_folder(tmp_path / "none", support.doubling())
    model.path.write_bytes(b"no model")
    toml = model.folder / "model.toml"
    text = toml.read_text().replace(model.file.sha256, hashlib.sha256(b"no model").hexdigest())
    toml.write_text(text.replace(f"bytes = {model.file.bytes}", "bytes = 8"))
    assert f"{model.path} is not a model that can be served: " in refusal(manifest.read(model.folder))


def test_a_model_that_cannot_run_the_golden_input(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    shape = {"shape": np.array([7, 11])}
    made = support.make_model(nodes, [("x", TensorProto.FLOAT, ["n"])], [("y", TensorProto.FLOAT, [7, 11])], shape)
    model = support.write_folder(tmp_path / "made", made)
    assert f"{model.path} cannot run the golden input: " in refusal(model)


def test_a_build_that_does_not_answer_as_the_raw_model_is_refused(model: manifest.Manifest) -> None:
    before = content(model.prepared)
    wrong = {"logits": [9.0] * support.CLASSES}
    with (
        patch("models.raw.answer", return_value=wrong),
        pytest.raises(
            ManifestError, match="building portable failed: the portable artifact does not answer as the raw"
        ),
    ):
        support.prepare_natively(model, force=True)
    assert content(model.prepared) == before


# --- interruptions


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("step", ["_run", "_write_shared", "record.write", "_replace"])
def test_an_interrupted_build_leaves_the_old_artifacts(
    step: str, error: type[BaseException], model: manifest.Manifest
) -> None:
    before = content(model.folder)
    with patch(f"models.prepare.{step}", side_effect=error), pytest.raises(error):
        support.prepare_natively(model, force=True)
    assert content(model.folder) == before
    assert not list(model.folder.glob(".prepare-*"))


def test_a_failure_between_the_two_renames_puts_the_old_artifacts_back(model: manifest.Manifest) -> None:
    before, real = content(model.folder), type(model.folder).rename

    def rename(source: Path, target: Path) -> Path:
        if source.name == "prepared" and target == model.prepared:
            raise OSError(28, "No space left on device")
        return real(source, target)

    without_exchange = patch("models.prepare.exchange", return_value=False)
    with without_exchange, patch("models.prepare.Path.rename", rename), pytest.raises(OSError, match="No space left"):
        support.prepare_natively(model, force=True)
    assert content(model.folder) == before


def test_a_killed_build_is_cleared_away_by_the_next(model: manifest.Manifest) -> None:
    before = content(model.prepared)
    command = [sys.executable, "-m", "models.prepare", "--force", str(model.folder)]
    process = subprocess.Popen(command, cwd=support.ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 30
    while not list(model.folder.glob(".prepare-*/prepared/*")) and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(model.folder.glob(".prepare-*"))
    assert content(model.prepared) == before
    support.prepare_natively(model, force=True)
    assert not list(model.folder.glob(".prepare-*"))
    assert content(model.prepared) == before


def test_two_at_once_build_once(model: manifest.Manifest) -> None:
    shutil.rmtree(model.prepared)
    with patch("models.prepare.shutil.which", return_value=None), ThreadPoolExecutor(3) as pool:
        said = sorted(lines[-1] for lines in pool.map(lambda _: prepare.prepare(model), range(3)))
    assert ["is up to date" in line for line in said].count(True) == 2


def test_a_server_goes_on_while_its_model_is_prepared_anew(model: manifest.Manifest) -> None:
    loaded = Models(Settings({"MODEL_REPOSITORY": str(model.folder.parent)})).get("tiny")
    expected = support.logits(loaded.run({"input": support.picture()})).copy()
    support.prepare_natively(model, force=True)
    np.testing.assert_array_equal(support.logits(loaded.run({"input": support.picture()})), expected)


# --- the command


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`zeroserve prepare` where there is no qemu."""
    command = [sys.executable, "-m", "models.prepare", *map(str, arguments)]
    environ = {**os.environ, "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, cwd=support.ROOT, env=environ, check=False)


def test_the_command_says_what_it_did(model: manifest.Manifest) -> None:
    done = run(model.folder)
    assert (done.returncode, done.stdout) == (0, f"tiny: {model.prepared} is up to date\n")
    forced = run("--force", model.folder)
    assert forced.returncode == 0, forced.stderr
    assert {f"tiny: {family} built, 0.0 MB" for family in BUILT} <= set(forced.stdout.splitlines())


def test_the_command_fails_with_the_reason(model: manifest.Manifest) -> None:
    done = run("absent")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'absent' is neither a model here (")
    model.path.write_bytes(b"altered")
    done = run("--force", model.folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {model.path} has 7 bytes")
    assert "Traceback" not in done.stderr


def test_the_command(original: Path) -> None:
    command = [sys.executable, "-m", "models.verify", str(original)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=support.ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert f"tiny: {PORTABLE} ok: " in done.stdout
