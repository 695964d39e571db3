"""Models that nobody here made: added by the command alone, right through both entries (README.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from function.engine import golden
from infra import run, serve, venvs
from models import manifest, places
from models.adding import sizes
from tests.e2e.http_client import post_json
from tests.strangers import large_model
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.manifest import Manifest

CACHE = places.cache() / "strangers"
SILERO: dict[str, tuple[int, ...]] = {"state": (2, 1, 128), "sr": ()}
# package, file in it, shapes of what is asked
MODELS: dict[str, tuple[str, str, list[dict[str, tuple[int, ...]]]]] = {
    "magika": ("magika==1.0.3", "magika/models/standard_v3_3/model.onnx", [{"bytes": (n, 2048)} for n in (1, 3)]),
    "speech": (
        "livekit-plugins-silero==1.8.9",
        "livekit/plugins/silero/resources/silero_vad.onnx",
        [{"input": (1, 576), **SILERO}, {"input": (1, 640), **SILERO}],
    ),
    "detection": (
        "rapidocr==3.10.0",
        "rapidocr/models/PP-OCRv6_det_small.onnx",
        [{"x": (1, 3, 64, 96)}, {"x": (2, 3, 32, 64)}],
    ),
    "recognition": (
        "rapidocr==3.10.0",
        "rapidocr/models/PP-OCRv6_rec_small.onnx",
        [{"x": (1, 3, 48, 96)}, {"x": (2, 3, 48, 40)}],
    ),
    "direction": (
        "rapidocr==3.10.0",
        "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        [{"x": (1, 3, 48, 192)}, {"x": (3, 3, 48, 64)}],
    ),
}


def fetched(package: str, name: str) -> Path:
    """The file, from the package in the cache; a skip with pip's reason where it cannot be had."""
    stem = package.replace("==", "-").replace("livekit-plugins", "livekit_plugins").replace("plugins-", "plugins_")
    if not list(CACHE.glob(f"{stem}-*.whl")):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--retries=1",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += ["--only-binary=:all:", "--dest", str(CACHE), package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{package} cannot be fetched: {(done.stderr.splitlines() or ['?'])[-1]}")
    (wheel,) = CACHE.glob(f"{stem}-*.whl")
    target = CACHE / stem
    if not (target / name).is_file():
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(name, target)
    return target / name


def added(path: Path, name: str, repository: Path) -> tuple[Manifest, float]:
    """The model, and the seconds that the command took."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "zeroserve", "add", str(path), "--name", name],
        cwd=ROOT,
        env=os.environ | {"MODEL_REPOSITORY": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{name}: answers as onnxruntime does" in done.stdout
    return manifest.read(repository / name), time.monotonic() - start


def random(datatype: str, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
    if datatype.startswith("FP"):
        return generator.uniform(-1, 1, shape).astype(sizes.numpy_type(datatype))
    return np.asarray(generator.integers(0, 256, shape) if shape else 16000, sizes.numpy_type(datatype))


def check(url: str, model: Manifest, asked: list[dict[str, tuple[int, ...]]]) -> None:
    """Random inputs of each shape, as JSON, against onnxruntime's own answers over the raw file."""
    oracle = sizes.open_quietly(model.path)
    generator = np.random.default_rng(20261124)
    datatypes = {spec.name: spec.datatype for spec in model.inputs}
    for shapes in asked:
        arrays = {name: random(datatypes[name], shape, generator) for name, shape in shapes.items()}
        inputs = [
            {"name": name, "datatype": datatypes[name], "shape": list(array.shape), "data": array.ravel().tolist()}
            for name, array in arrays.items()
        ]
        answer = post_json(url, f"/v2/models/{model.name}/infer", {"inputs": inputs})
        assert answer.status == 200, answer.error
        expected = sizes.run(oracle, arrays)
        found = {each["name"]: each for each in json.loads(answer.body)["outputs"]}
        for name, array in expected.items():
            assert found[name]["shape"] == list(array.shape)
            problem = golden.difference({name: array.ravel().tolist()}, {name: found[name]["data"]})
            assert problem is None, problem


@pytest.mark.skipif(not os.environ.get("TEST_STRANGERS"), reason="set TEST_STRANGERS=1: it fetches 48 MB")
@pytest.mark.parametrize("name", MODELS)
def test_a_strangers_model(name: str, tmp_path: Path) -> None:
    package, file, asked = MODELS[name]
    model, seconds = added(fetched(package, file), name, tmp_path / "repository")
    print(f"{name}: added in {seconds:.1f} s")
    with run.entry(model) as url:
        check(url, model, asked)
    with serve.running(model) as url:
        check(url, model, asked)


@pytest.fixture(scope="module")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with LightGBM's models and answers, made in an environment of their own."""
    folder = tmp_path_factory.mktemp("boosted")
    try:
        python = venvs.ensure("boosting")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"requirements/boosting.txt cannot be installed: {error}")
    subprocess.run([python, "-W", "ignore", ROOT / "tests" / "strangers" / "boosted.py", folder], check=True)
    return folder


def check_boosted(url: str, model: Manifest, document: dict[str, Any]) -> None:
    """Random rows against onnxruntime, and LightGBM's own rows, some with missing values, against its answers."""
    check(url, model, [{"rows": (1, 6)}, {"rows": (7, 6)}])
    answer = post_json(url, f"/v1/models/{model.name}:predict", {"instances": document["rows"]})
    assert answer.status == 200, answer.error
    shares = model.outputs[-1].name
    predictions = json.loads(answer.body)["predictions"]
    found = [row[shares] if isinstance(row, dict) else row for row in predictions]
    np.testing.assert_allclose(np.ravel(found), np.ravel(document["expected"]), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not os.environ.get("TEST_STRANGERS"), reason="set TEST_STRANGERS=1: it installs LightGBM, 350 MB")
@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_lightgbm_over_fp64(kind: str, boosted: Path, tmp_path: Path) -> None:
    """Added by the command alone, missing values and all."""
    model, seconds = added(boosted / f"{kind}.onnx", kind, tmp_path / "repository")
    print(f"{kind}: added in {seconds:.1f} s")
    assert [spec.datatype for spec in model.inputs] == ["FP64"]
    assert model.missing == "nan"
    document = json.loads((boosted / f"{kind}.json").read_text())
    with run.entry(model) as url:
        check_boosted(url, model, document)
    with serve.running(model) as url:
        check_boosted(url, model, document)


@pytest.mark.skipif(not os.environ.get("LARGE_MODEL"), reason="set LARGE_MODEL=1: it writes 3 GB")
def test_a_large_model(tmp_path: Path) -> None:
    path = large_model.write(tmp_path / "from")
    model, seconds = added(path, "large", tmp_path / "repository")
    print(f"large: added in {seconds:.1f} s")
    with serve.running(model) as url:
        check(url, model, [{"x": (1, large_model.SIDE)}])
