"""Model files that are missing, cut or altered: a 503 with the reason and the command, never a wrong class."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from function.engine.artifact import sealed
from function.native import cpu
from tests.contract import made_models
from tests.contract.client import Client, new_client

if TYPE_CHECKING:
    from collections.abc import Callable

FAMILY = cpu.family(cpu.flags())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("models")
    rule = made_models.shades_rule("none")
    return made_models.add_model(repository, "shades", made_models.shades(), image=rule, labels=("r", "g", "b"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "repository" / "shades"))


@pytest.fixture
def client(folder: Path) -> Client:
    return new_client(folder.parent, "shades")


def green() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9, 9), (0, 255, 0)).save(out, "PNG")
    return out.getvalue()


def top(client: Client) -> tuple[int, str]:
    """Status, and the top label or the error."""
    answer = client.post("/classify", green())
    return answer.status, answer.json["predictions"][0]["label"] if answer.status == 200 else answer.error


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """One bit in the middle: the size stays right."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def garbage(path: Path) -> None:
    path.write_text("[1, 2]")


def reseal(record: Path, change: dict[str, object]) -> None:
    """Changes an artifact.json as one who knows its format would."""
    document = json.loads(record.read_text())
    del document["crc32"]
    record.write_bytes(sealed(document | change))


DAMAGE = [remove, truncate, empty, flip]
SHARED = ["image.onnx"]
OWN = ["model.onnx", "weights.bin"]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: str(damage.__name__))
@pytest.mark.parametrize("name", SHARED + OWN)
def test_a_damaged_model_is_a_503_until_it_is_mended(
    folder: Path, client: Client, name: str, damage: Callable[[Path], None]
) -> None:
    prepared = folder / "prepared"
    for path in [prepared / name] if name in SHARED else sorted(prepared.glob(f"*/{name}")):
        damage(path)
    status, error = top(client)
    assert status == 503, error
    assert name in error
    assert f"zeroserve prepare {folder}" in error
    assert top(client)[0] == 503  # a failure is no cached success
    assert client.get("/health").status == 200
    # What the command does, for the same environment.
    made_models.prepare_again(folder)
    assert top(client) == (200, "g")


@pytest.mark.parametrize("damage", [*DAMAGE, garbage], ids=lambda damage: str(damage.__name__))
@pytest.mark.parametrize("name", ["model.json", "artifact.json"])
def test_damaged_metadata_is_a_503(folder: Path, client: Client, name: str, damage: Callable[[Path], None]) -> None:
    for path in sorted((folder / "prepared").rglob(name)):
        damage(path)
    status, error = top(client)
    if (name, damage) == ("model.json", flip):
        # One letter of a label or a name may differ, which no reader of JSON can see: it is refused all the same.
        assert (status, "model.json" in error) == (503, True)
    assert status == 503, error
    assert "zeroserve prepare" in error


@pytest.mark.skipif(FAMILY is None, reason="this CPU is of no family, so only the portable artifact is used")
@pytest.mark.parametrize("name", [*OWN, "artifact.json"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: str(damage.__name__))
def test_a_damaged_family_artifact_is_replaced_by_the_portable_one(
    folder: Path, client: Client, name: str, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder / "prepared" / str(FAMILY) / name)
    assert top(client) == (200, "g")
    assert top(client) == (200, "g")
    warning = capsys.readouterr().err
    assert warning.count("zeroserve: warning:") == 1
    assert str(FAMILY) in warning
    assert "the portable artifact serves" in warning


def put_wrong_graph(artifact: Path) -> None:
    """A graph that takes green for blue without any error, as one for another CPU may, and a record that fits it."""
    wrong = made_models.shades(order=(0, 2, 1)).SerializeToString()
    (artifact / "model.onnx").write_bytes(wrong)
    files = json.loads((artifact / "artifact.json").read_text())["files"]
    files["model.onnx"] = {"bytes": len(wrong), "crc32": zlib.crc32(wrong), "sha256": hashlib.sha256(wrong).hexdigest()}
    reseal(artifact / "artifact.json", {"files": files})


@pytest.mark.skipif(FAMILY is None, reason="this CPU is of no family, so only the portable artifact is used")
def test_a_wrong_graph_with_a_record_that_fits_would_give_a_wrong_class(folder: Path, client: Client) -> None:
    """What the next test rests on; only the golden input, asked for, tells."""
    put_wrong_graph(folder / "prepared" / str(FAMILY))
    assert top(client) == (200, "b")
    status, error = top(new_client(folder.parent, "shades", VERIFY_ARTIFACTS="1"))
    assert status == 503
    assert "golden" in error


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 0),
        ("model", "other"),
        ("version", "4"),
        ("model_sha256", "0" * 64),
        ("family", "other"),
        ("ort_version", "1.0.0"),
        ("flags", ["amx"]),
    ],
)
@pytest.mark.skipif(FAMILY is None, reason="this CPU is of no family, so only the portable artifact is used")
def test_an_artifact_for_elsewhere_is_never_loaded(
    folder: Path, client: Client, key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = folder / "prepared" / str(FAMILY)
    put_wrong_graph(artifact)
    reseal(artifact / "artifact.json", {key: value})
    assert top(client) == (200, "g")
    warning = capsys.readouterr().err
    assert "the portable artifact serves" in warning
    assert ("amx" if key == "flags" else f"{key} is {value!r}") in warning


def test_a_folder_that_was_never_prepared_says_the_command(folder: Path, client: Client) -> None:
    shutil.rmtree(folder / "prepared")
    status, error = top(client)
    assert status == 503
    assert "is not prepared" in error
    assert f"zeroserve prepare {folder}" in error
    for path in ("/ready", "/v2/health/ready", "/v2/models/shades/ready"):
        assert client.get(path).status == 503
    for path in ("/", "/health", "/v2/health/live"):
        assert client.get(path).status == 200
    made_models.prepare_again(folder)
    assert client.get("/ready").status == 200
    assert top(client) == (200, "g")


def test_a_missing_repository_is_a_503(tmp_path: Path) -> None:
    answer = new_client(tmp_path / "nowhere", "shades").get("/v1/models")
    assert answer.status == 503
    assert "nowhere" in answer.error


def test_a_model_prepared_anew_while_serving_a_failure_is_taken_up(folder: Path, client: Client) -> None:
    for path in (folder / "prepared").glob("*/weights.bin"):
        flip(path)
    assert top(client)[0] == 503
    # Another version of the model: other labels, another checksum.
    (folder / "labels.txt").write_text("rot\ngrün\nblau")
    manifest = folder / "model.toml"
    manifest.write_text(manifest.read_text().replace('version = "1"', 'version = "2"'))
    made_models.prepare_again(folder)
    assert top(client) == (200, "grün")


@pytest.mark.parametrize("name", OWN)
def test_checksums_on_demand_find_what_size_and_crc_do_not(folder: Path, name: str) -> None:
    for family in (folder / "prepared").iterdir():
        if family.is_dir():
            flip(family / name)
            record = family / "artifact.json"
            files = json.loads(record.read_text())["files"]
            files[name]["crc32"] = zlib.crc32((family / name).read_bytes())
            reseal(record, {"files": files})
    status, error = top(new_client(folder.parent, "shades", VERIFY_ARTIFACTS="1"))
    assert status == 503
    assert "zeroserve prepare" in error
