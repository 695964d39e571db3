"""The guard: every way an artifact can be wrong ends in the portable one or in a refusal, never in another answer."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from function.engine import artifact, repository
from function.engine.artifact import PORTABLE, MismatchError, check_files, choose, read_record, sealed
from function.engine.registry import Models
from function.errors import PredictError
from function.native import cpu, ort_capi
from function.settings import Settings
from tests import support

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Damage = Callable[[Path], None]

FLAGS = cpu.flags()
FAMILY = cpu.family(FLAGS) or PORTABLE
own_family = pytest.mark.skipif(FAMILY == PORTABLE, reason="this CPU has no artifact family of its own")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def flip_at(share: float) -> Damage:
    """Flips one bit of the byte that lies at `share` of the file."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(share * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    flip.__name__ = f"flip_at_{share}"
    return flip


def remove(path: Path) -> None:
    path.unlink()


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [
    cut,
    empty,
    lengthen,
    flip_at(0),
    flip_at(0.3),
    flip_at(0.5),
    flip_at(0.9),
    flip_at(1),
    remove,
    make_a_folder,
]
damages = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage.__name__))


@pytest.fixture(scope="module")
def expected(originals: Path) -> NDArray[np.float32]:
    """What the intact artifact answers."""
    return answer(Models(Settings({"MODEL_REPOSITORY": str(originals)})))


@pytest.fixture
def prepared(originals: Path, tmp_path: Path) -> Path:
    """A copy of what was prepared for `tiny`, to be damaged."""
    shutil.copytree(originals / "tiny", tmp_path / "tiny")
    return tmp_path / "tiny" / "prepared"


@pytest.fixture
def models(prepared: Path) -> Models:
    return Models(Settings({"MODEL_REPOSITORY": str(prepared.parent.parent)}))


def answer(models: Models) -> NDArray[np.float32]:
    return support.logits(models.get("tiny").run({"input": support.picture()}))


def mend(prepared: Path, originals: Path) -> None:
    """What `models.prepare` does, without the wait: another folder takes the place of the damaged one."""
    shutil.rmtree(prepared)
    shutil.copytree(originals / "tiny" / "prepared", prepared)


def assert_falls_back(models: Models, expected: NDArray[np.float32], stderr: pytest.CaptureFixture[str]) -> str:
    """The portable artifact gives the same answer and one warning says why; returns it."""
    for _ in range(2):
        np.testing.assert_allclose(answer(models), expected, atol=1e-5)
    assert models.get("tiny").artifact.family == PORTABLE
    [warning] = stderr.readouterr().err.splitlines()
    assert warning.startswith("zeroserve: warning: ")
    assert "; the portable artifact serves, loading takes longer. To mend: zeroserve prepare " in warning
    return warning


def assert_refuses(models: Models, folder: Path) -> str:
    """Not an answer but the reason, again and again; returns it."""
    for _ in range(2):
        with pytest.raises(PredictError) as caught:
            answer(models)
        assert caught.value.code == "UNAVAILABLE"
        assert f"run: zeroserve prepare {folder}" in caught.value.message
        assert not models.loaded("tiny")
    return caught.value.message


# --- choose


def chosen(prepared: Path, flags: frozenset[str] = FLAGS, version: str | None = None) -> artifact.Artifact:
    metadata = repository.read(str(prepared.parent.parent), "tiny")
    return choose(metadata, version or ort_capi.get_library().version, flags)


def test_the_cpus_own_artifact_is_chosen(prepared: Path) -> None:
    found = chosen(prepared)
    assert (found.family, found.warning) == (FAMILY, None)
    assert found.folder == str(prepared / FAMILY)
    assert found.graph == str(prepared / FAMILY / "model.onnx")
    assert found.document["model"] == "tiny"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (set(), r"no artifact family fits the CPU flags \[\]"),
        ({"sse9"}, r"no artifact family fits the CPU flags \['sse9'\]"),
        ({"avx", "avx2", "fma", "avx512f"}, "no artifact family fits"),
        ({"asimd"}, "No such file or directory: '.*/neon/artifact.json'"),
    ],
    ids=str,
)
def test_another_cpu_gets_the_portable_artifact(flags: set[str], reason: str, prepared: Path) -> None:
    found = chosen(prepared, frozenset(flags))
    assert found.family == PORTABLE
    assert found.warning is not None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.warning)


@own_family
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ort_version": "1.30.0"}, "ort_version is '1.30.0', here it is"),
        ({"model": "other"}, "model is 'other', here it is 'tiny'"),
        ({"version": "0"}, "version is '0', here it is '1'"),
        ({"model_sha256": "0" * 64}, "model_sha256 is '000"),
        ({"family": "neon"}, "family is 'neon', here it is"),
        ({"format": 1}, "format is 1, here it is 3"),
        ({"flags": ["amx", "avx2"]}, "the CPU lacks ['amx']"),
    ],
    ids=str,
)
def test_a_record_of_elsewhere_is_not_used(
    *,
    changes: dict[str, object],
    reason: str,
    prepared: Path,
    models: Models,
    expected: NDArray[np.float32],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Records that were built like this; edited ones do not even get this far."""
    reseal(prepared / FAMILY, **changes)
    assert reason in assert_falls_back(models, expected, capsys)


def reseal(folder: Path, **changes: object) -> None:
    """Writes the record anew with other members, as a build that was given them would have."""
    record = read_record(str(folder)) | changes
    record.pop("crc32")
    (folder / "artifact.json").write_bytes(sealed(record))


@pytest.mark.parametrize("key", ["model", "version", "model_sha256", "family", "format"])
def test_a_portable_record_of_elsewhere_is_refused(key: str, prepared: Path, models: Models) -> None:
    for folder in prepared.glob("*/"):
        reseal(folder, **{key: "another"})
    assert f"{key} is 'another', here it is" in assert_refuses(models, prepared.parent)


def test_a_newer_runtime_takes_the_portable_artifact(prepared: Path) -> None:
    found = chosen(prepared, version="1.99.0")
    assert found.family == PORTABLE
    assert found.warning is None or "here it is '1.99.0'" in found.warning


# --- damaged files of the CPU's own artifact


@own_family
@damages
@pytest.mark.parametrize("name", ["artifact.json", "model.onnx", "weights.bin"])
def test_damage_to_the_own_artifact_falls_back(
    *,
    name: str,
    damage: Damage,
    prepared: Path,
    models: Models,
    expected: NDArray[np.float32],
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(prepared / FAMILY / name)
    assert str(prepared / FAMILY / name) in assert_falls_back(models, expected, capsys)


@own_family
def test_the_whole_own_artifact_missing_falls_back(
    prepared: Path, models: Models, expected: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(prepared / FAMILY)
    assert "No such file or directory" in assert_falls_back(models, expected, capsys)


@own_family
@pytest.mark.parametrize("names", [["model.onnx"], ["weights.bin"], ["model.onnx", "weights.bin"]], ids=str)
def test_files_of_another_model_are_not_used(
    *,
    names: list[str],
    originals: Path,
    prepared: Path,
    models: Models,
    expected: NDArray[np.float32],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The other model has the same tensors and its weights the same size: only the checksum tells."""
    for name in names:
        shutil.copy(originals / "other" / "prepared" / FAMILY / name, prepared / FAMILY / name)
    warning = assert_falls_back(models, expected, capsys)
    assert "its CRC-32 is not the one of artifact.json" in warning or "bytes, not" in warning


@own_family
def test_the_whole_artifact_of_another_model_is_not_used(
    originals: Path,
    prepared: Path,
    models: Models,
    expected: NDArray[np.float32],
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.rmtree(prepared / FAMILY)
    shutil.copytree(originals / "other" / "prepared" / FAMILY, prepared / FAMILY)
    assert "model is 'other', here it is 'tiny'" in assert_falls_back(models, expected, capsys)


@own_family
@pytest.mark.parametrize(
    "changes", [{"ort_version": "1.30.0"}, {"family": "avx2", "flags": []}, {"golden": {}}, {"note": "mine"}], ids=str
)
def test_an_edited_record_is_not_used(
    changes: dict[str, object],
    prepared: Path,
    models: Models,
    expected: NDArray[np.float32],
    capsys: pytest.CaptureFixture[str],
) -> None:
    support.edit_json(prepared / FAMILY / "artifact.json", **changes)
    assert "is damaged or was edited" in assert_falls_back(models, expected, capsys)


def test_every_single_flipped_byte_of_a_record_is_noticed(prepared: Path) -> None:
    path = prepared / FAMILY / "artifact.json"
    content = path.read_bytes()
    for index in range(len(content)):
        changed = bytearray(content)
        changed[index] ^= 1 << index % 8
        path.write_bytes(changed)
        with pytest.raises(MismatchError, match="was edited"):
            read_record(str(prepared / FAMILY))


def test_damage_to_the_portable_artifact_does_not_matter_while_the_own_one_is_right(
    prepared: Path, models: Models, expected: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    if FAMILY == PORTABLE:
        pytest.skip("this CPU has no artifact family of its own")
    shutil.rmtree(prepared / PORTABLE)
    np.testing.assert_array_equal(answer(models), expected)
    assert models.get("tiny").artifact.family == FAMILY
    assert not capsys.readouterr().err


# --- damage that leaves nothing to fall back on


@damages
@pytest.mark.parametrize("name", ["artifact.json", "model.onnx", "weights.bin"])
def test_damage_to_all_artifacts_is_refused_until_mended(
    *, name: str, damage: Damage, prepared: Path, originals: Path, models: Models, expected: NDArray[np.float32]
) -> None:
    for folder in prepared.glob("*/"):
        damage(folder / name)
    assert name in assert_refuses(models, prepared.parent)
    mend(prepared, originals)
    np.testing.assert_array_equal(answer(models), expected)


@damages
@pytest.mark.parametrize("name", ["model.json", "image.onnx"])
def test_damage_to_what_all_artifacts_share_is_refused_until_mended(
    *, name: str, damage: Damage, prepared: Path, originals: Path, models: Models, expected: NDArray[np.float32]
) -> None:
    damage(prepared / name)
    message = assert_refuses(models, prepared.parent)
    assert any(reason in message for reason in (name, "not prepared", "model_sha256 is"))
    mend(prepared, originals)
    np.testing.assert_array_equal(answer(models), expected)


@pytest.mark.parametrize("name", ["model.json", "image.onnx"])
def test_shared_files_of_another_model_are_refused(
    name: str, prepared: Path, originals: Path, models: Models, expected: NDArray[np.float32]
) -> None:
    content = (originals / "other" / "prepared" / name).read_bytes()
    # The small graphs of two models are the same unless their preprocessing differs: change a number in it.
    changed = content.replace(b'"other"', b'"tiny"') if name == "model.json" else content[:-9] + b"123456789"
    (prepared / name).write_bytes(changed)
    assert ("model_sha256" if name == "model.json" else name) in assert_refuses(models, prepared.parent)
    mend(prepared, originals)
    np.testing.assert_array_equal(answer(models), expected)


def test_everything_missing_is_said_to_be_not_prepared(
    prepared: Path, originals: Path, models: Models, expected: NDArray[np.float32]
) -> None:
    shutil.rmtree(prepared)
    assert "model 'tiny' is not prepared" in assert_refuses(models, prepared.parent)
    shutil.copytree(originals / "tiny" / "prepared", prepared)
    np.testing.assert_array_equal(answer(models), expected)


def test_altered_metadata_is_not_remembered(prepared: Path, originals: Path, models: Models) -> None:
    """Someone changes a label; the metadata is read, loading is refused, the file is mended: the old label is back."""
    shape = models.metadata("tiny").inputs["input"].shape
    support.edit_json(prepared / "model.json", description="altered", labels=["wrong"] * support.CLASSES)
    assert models.metadata("tiny").labels[0] == "wrong"
    assert "model.json" in assert_refuses(models, prepared.parent)
    mend(prepared, originals)
    assert models.get("tiny").metadata.labels == []
    assert models.metadata("tiny").labels == []
    assert models.metadata("tiny").inputs["input"].shape == shape


def test_metadata_of_another_preparation_is_not_combined_with_an_artifact(prepared: Path) -> None:
    """model.json replaced between reading it and choosing: both are intact, but they do not belong together."""
    metadata = repository.read(str(prepared.parent.parent), "tiny")
    metadata.crc32 ^= 1
    with pytest.raises(PredictError, match=r"model\.json was replaced while the model was loaded; ask again"):
        choose(metadata, ort_capi.get_library().version, FLAGS)


def test_a_path_with_spaces_is_quoted_in_the_command(originals: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my models" / "tiny"
    shutil.copytree(originals / "tiny", folder)
    remove(folder / "prepared" / "image.onnx")
    with pytest.raises(PredictError, match=f"zeroserve prepare '{folder}'"):
        answer(Models(Settings({"MODEL_REPOSITORY": str(folder.parent)})))


# --- check_files


def test_check_files_finds_what_crc32_cannot(prepared: Path) -> None:
    folder = prepared / FAMILY
    files = read_record(str(folder))["files"]
    check_files(str(folder), files, sha256=True)
    files["weights.bin"]["sha256"] = "0" * 64
    check_files(str(folder), files)
    with pytest.raises(MismatchError, match=r"weights\.bin is damaged: its sha256 is not the one of artifact\.json"):
        check_files(str(folder), files, sha256=True)


def test_every_file_but_the_record_is_recorded(prepared: Path) -> None:
    for folder in prepared.glob("*/"):
        recorded = {(folder / name).resolve() for name in read_record(str(folder))["files"]}
        beside = {path for path in prepared.iterdir() if path.is_file()}
        assert recorded == beside | set(folder.iterdir()) - {folder / "artifact.json"}
