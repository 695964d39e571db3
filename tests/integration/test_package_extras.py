"""What only some models bring into the layer: the tokenizers package, and the requirements of a processing.py."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from layer import extras, rules, stage, wheels
from models import manifest
from tests import tiny_text
from tests.contract import feature_models
from tests.contract.client import new_client
from tests.contract.entries.sent_models import EMBEDDING, add, sums

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PLAIN = "def postprocess(outputs): return 1\n"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_each_locked_package_has_a_rule() -> None:
    assert set(wheels.locked(wheels.ROOT / "requirements" / "text.txt")) == set(rules.TEXT)
    assert set(wheels.locked(wheels.ROOT / "requirements" / "postgres.txt")) == set(rules.POSTGRES)


def test_texts_bring_the_tokenizer_and_nothing_else_does(tmp_path: Path) -> None:
    add(tmp_path / "phrases", tiny_text.encoder(), extra=EMBEDDING)
    add(tmp_path / "hooked", sums(), processing=PLAIN)
    for name in ("phrases", "hooked"):
        stage.layer(tmp_path / f"layer-{name}", "x86_64", HERE, None, [str(tmp_path / name)])
    stage.layer(tmp_path / "layer", "x86_64", HERE, None)
    plain = files(tmp_path / "layer")
    assert files(tmp_path / "layer-hooked") == plain
    added = files(tmp_path / "layer-phrases") - plain
    assert added
    assert {name.split("/")[0].partition("-")[0] for name in added} == {"tokenizers"}
    program = "from tokenizers import Tokenizer, models; Tokenizer(models.WordPiece({'a': 0}, unk_token='a'))"
    alone = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.append({str(tmp_path / 'layer-phrases')!r}); {program}",
    ]
    subprocess.run(alone, check=True)


DRIVER = """
import sys
sys.path += sys.argv[1:]
from urllib.parse import urlsplit
from function.features.postgres_store import PostgresStore
try:
    PostgresStore(urlsplit("postgresql://nobody@127.0.0.1:1/none"), 5).connect()
except Exception as error:
    print(type(error).__name__, sys.modules["pg8000"].__file__)
"""


def test_a_query_of_a_view_brings_the_driver_and_other_features_do_not(tmp_path: Path) -> None:
    feature_models.build(tmp_path, name="asks", more='query = "SELECT * FROM cards WHERE card_id = ANY(:keys)"')
    feature_models.build(tmp_path, name="reads")
    for name in ("asks", "reads"):
        stage.layer(tmp_path / f"layer-{name}", "x86_64", HERE, None, [str(tmp_path / name)])
    plain = files(tmp_path / "layer-reads")
    assert "pg8000/native.py" not in plain
    added = files(tmp_path / "layer-asks") - plain
    assert {name.split("/")[0].partition("-")[0].removesuffix(".py") for name in added} == {
        *("pg8000", "scramp", "asn1crypto", "dateutil", "python_dateutil", "six")
    }
    layer = str(tmp_path / "layer-asks")
    alone = [sys.executable, "-I", "-S", "-c", DRIVER, layer, str(wheels.ROOT)]
    done = subprocess.run(alone, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"InterfaceError {layer}/pg8000/"), done.stdout


def test_whoever_reads_feasts_tables_in_postgresql_names_the_driver(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "pg8000", {"pg8000/__init__.py": b""})
    feature_models.build(tmp_path, name="reads")
    lines = ["--no-index", f"--find-links {tmp_path / 'wheels'}", "pg8000", ""]
    (tmp_path / "reads" / "requirements.txt").write_text("\n".join(lines))
    extras.install([manifest.read(tmp_path / "reads")], "arm64", "3.13", tmp_path / "out")
    assert "pg8000/__init__.py" in files(tmp_path / "out")


def test_artifacts_that_are_alike_are_packed_once(
    tmp_path: Path, digits_prepared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path / "sums", sums())
    prepared = tmp_path / "sums" / "prepared"
    families = {path.parent.name for path in prepared.glob("*/artifact.json")}
    assert len(families) == 2
    (line,) = stage.function(tmp_path / "task", [str(tmp_path / "sums")], None)
    assert line == "sums: portable"
    packed = tmp_path / "task" / "models"
    assert {path.parent.name for path in packed.glob("*/prepared/*/artifact.json")} == {"portable"}
    client = new_client(packed, "sums")
    assert client.post("/v1/models/sums:predict", {"instances": [[1, 2]]}).json["predictions"][0]["total"] == 3
    assert "warning" not in capfd.readouterr().err
    (line,) = stage.function(tmp_path / "other", ["digits"], None)
    assert len(line.split(", ")) == len(list((digits_prepared / "digits" / "prepared").glob("*/artifact.json")))


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """A wheel that pip takes."""
    info = f"{name}-1.0.dist-info"
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


def requiring(folder: Path, *packages: str) -> manifest.Manifest:
    """A model whose processing.py needs packages of the folder of wheels beside it."""
    add(folder, sums(), processing=PLAIN)
    lines = ["--no-index", f"--find-links {folder.parent / 'wheels'}", *packages, ""]
    (folder / "requirements.txt").write_text("\n".join(lines))
    return manifest.read(folder)


def test_requirements_are_packed_whole(tmp_path: Path) -> None:
    content = {"mine/__init__.py": b"X = 1", "mine-1.0.data/purelib/more.py": b"", "mine-1.0.data/scripts/run": b"#!"}
    wheel(tmp_path / "wheels", "mine", content)
    extras.install([requiring(tmp_path / "hooked", "mine==1.0")], "arm64", "3.13", tmp_path / "out")
    information = {f"mine-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")}
    assert files(tmp_path / "out") == {"mine/__init__.py", "more.py", *information}


def _library() -> Path:
    spec = importlib.util.find_spec("tokenizers.tokenizers")
    assert spec
    assert spec.origin
    return Path(spec.origin)


def test_requirements_that_cannot_be_packed(tmp_path: Path) -> None:
    library = _library().read_bytes()[:64]
    wheel(tmp_path / "wheels", "onnxruntime", {})
    wheel(tmp_path / "wheels", "native", {"native.so": library})
    wheel(tmp_path / "wheels", "sly", {"../../outside.py": b""})
    for name, words in (
        ("onnxruntime", "asks for onnxruntime, which is in the layer"),
        ("native", "native.so is for x86_64, not for arm64"),
        ("sly", "has a file outside its folder"),
    ):
        with pytest.raises(extras.RequirementError, match=words):
            extras.install([requiring(tmp_path / f"needs-{name}", name)], "arm64", "3.13", tmp_path / "out")
    with pytest.raises(wheels.WheelError, match="pip could not fetch the wheels for arm64"):
        extras.install([requiring(tmp_path / "nobody", "nobody-has-this")], "arm64", "3.13", tmp_path / "out")
    assert not (tmp_path / "outside.py").exists()


HEIC = """
import io, sys
sys.path += sys.argv[1:]
import pillow_heif
from PIL import Image
from function.codecs.image import decode
from function.tensor import ImageRule

rule = ImageRule(input="input", output="logits", size=[48, 64], mean=[0.5] * 3, std=[0.5] * 3, activation="softmax",
                 resize="stretch", resize_to=0, filter="bilinear", layout="NCHW")
across = Image.linear_gradient("L").resize((257, 191))
image = Image.merge("RGB", (across, across.transpose(Image.Transpose.FLIP_LEFT_RIGHT), across))
file = io.BytesIO()
pillow_heif.from_pillow(image).save(file, quality=100)
found, expected = decode(file.getvalue(), rule).data, image.resize((64, 48), Image.Resampling.BILINEAR).tobytes()
print(max(abs(a - b) for a, b in zip(found, expected, strict=True)))
try:
    decode(file.getvalue()[:-50], rule)
except Exception as error:
    print(error)
"""


def test_pillow_of_the_layer_stays_its_own(tmp_path: Path, digits_prepared: Path) -> None:
    """pillow-heif asks for Pillow, which the layer has in its own form."""
    wheel(tmp_path / "wheels", "pillow", {"PIL/more.py": b""})
    wheel(tmp_path / "wheels", "pillow_heif", {"pillow_heif.py": b""})
    folder = shutil.copytree(digits_prepared / "digits", tmp_path / "digits")
    lines = ["--no-index", f"--find-links {tmp_path / 'wheels'}", "pillow", "pillow-heif", ""]
    (folder / "requirements.txt").write_text("\n".join(lines))
    extras.install([manifest.read(folder)], "arm64", "3.13", tmp_path / "out")
    packed = files(tmp_path / "out")
    assert "pillow_heif.py" in packed
    assert "PIL/more.py" not in packed


@pytest.mark.skipif(not os.environ.get("TEST_STRANGERS"), reason="set TEST_STRANGERS=1: it fetches pillow-heif")
def test_heic_is_read_with_the_layer_that_has_it(tmp_path: Path, digits_prepared: Path) -> None:
    folder = shutil.copytree(digits_prepared / "digits", tmp_path / "digits")
    (folder / "requirements.txt").write_text("pillow-heif\n")
    stage.layer(tmp_path / "layer", "x86_64", HERE, None, [str(folder)])
    command = [sys.executable, "-I", "-S", "-c", HEIC, str(tmp_path / "layer"), str(wheels.ROOT)]
    difference, cut = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert int(difference) <= 6
    assert "this HEIC picture is damaged" in cut
