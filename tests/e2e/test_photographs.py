"""ImageNet's MobileNetV2 in the emulator: photographs by HTTP, and logits against ONNX Runtime's own Python API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from infra.emulator import Emulator
from infra.front import FunctionUrl
from tests.contract.made_models import prepare_again
from tests.e2e.http_client import ask, post_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SHARED = Path(__file__).parents[3] / "shared"
MODEL = SHARED / "models" / "mobilenetv2"
IMAGES = SHARED / "images"
pytestmark = pytest.mark.skipif(
    not (MODEL / "model.onnx").is_file() or not (IMAGES / "expected.json").is_file(),
    reason="the ImageNet model and the photographs are not beside the project (../shared)",
)

MANIFEST = """
name = "imagenet"
version = "1"
description = "MobileNetV2 1.0/224, dequantised from the Coral test data"
licence = "Apache-2.0"
source = "github.com/google-coral/test_data"
labels = "labels.txt"

[file]
name = "model.onnx"
bytes = 13969146
sha256 = "4ea780cab94dd6e8c427ff86865cebabdc26dded68bba0b3cf7140c173b56588"

[[inputs]]
name = "input"
datatype = "FP32"
shape = [-1, 3, 224, 224]

[[outputs]]
name = "output"
datatype = "FP32"
shape = [-1, 1000]

[image]
input = "input"
output = "output"
activation = "softmax"
resize = "shorter_side"
resize_to = 256
size = [224, 224]
filter = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
layout = "NCHW"
"""
INFER = "/v2/models/imagenet/infer"
PHOTOGRAPHS = ("bird.png", "cat.jpg", "parrot.jpg", "sunflower.png")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionUrl]:
    repository = tmp_path_factory.mktemp("models")
    folder = repository / "imagenet"
    folder.mkdir()
    (folder / "model.toml").write_text(MANIFEST)
    (folder / "model.onnx").symlink_to(MODEL / "model.onnx")
    shutil.copyfile(MODEL / "labels.txt", folder / "labels.txt")
    prepare_again(folder)
    environment = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "imagenet"}
    with Emulator(env=environment) as emulator, FunctionUrl(emulator) as front:
        yield front


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    images: dict[str, Any] = json.loads((IMAGES / "expected.json").read_text())["images"]
    return images


@pytest.fixture(scope="module")
def tensor() -> NDArray[np.float32]:
    """The cat as expected.json's "preprocess" says, by Pillow and numpy alone: FP32 [1, 3, 224, 224]."""
    image = Image.open(IMAGES / "cat.jpg").convert("RGB")
    shorter = min(image.size)
    image = image.resize(
        (round(image.width * 256 / shorter), round(image.height * 256 / shorter)), Image.Resampling.BILINEAR
    )
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return np.ascontiguousarray((pixels / np.float32(127.5) - 1).transpose(2, 0, 1)[np.newaxis])


@pytest.fixture(scope="module")
def oracle(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """ONNX Runtime's Python API on the raw file: FP32 [1, 1000]."""
    session = onnxruntime.InferenceSession(MODEL / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": tensor})
    found: NDArray[np.float32] = logits
    return found


def test_every_photograph_is_tested(expected: dict[str, Any]) -> None:
    assert sorted(expected) == sorted(PHOTOGRAPHS)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_is_what_it_was_expected_to_be(front: FunctionUrl, expected: dict[str, Any], name: str) -> None:
    answer = ask(front.url, "POST", "/classify?top_k=5", (IMAGES / name).read_bytes())
    assert answer.status == 200, answer.body
    found, top5 = answer.json["predictions"], expected[name]["top5"]
    assert (found[0]["index"], found[0]["label"]) == (top5[0]["index"], top5[0]["label"])
    # JPEGs are decoded at a fraction of their size, so the last places, all but equal, may change.
    known = {row["index"]: row["probability"] for row in top5}
    for row in found:
        assert row["probability"] == pytest.approx(known.get(row["index"], 0.0), abs=0.02)
    assert {row["index"] for row in top5 if row["probability"] > 0.001} <= {row["index"] for row in found}


def test_the_reference_tensor_is_the_expected_one(oracle: NDArray[np.float32], expected: dict[str, Any]) -> None:
    for row in expected["cat.jpg"]["top5"]:
        assert oracle[0, row["index"]] == pytest.approx(row["logit"], abs=1e-2)


def test_logits_of_a_json_tensor_are_those_of_the_oracle(
    front: FunctionUrl, tensor: NDArray[np.float32], oracle: NDArray[np.float32]
) -> None:
    entry = {"name": "input", "datatype": "FP32", "shape": list(tensor.shape), "data": tensor.ravel().tolist()}
    answer = post_json(front.url, INFER, {"inputs": [entry]})
    assert answer.status == 200, answer.body
    (output,) = answer.json["outputs"]
    assert output["shape"] == [1, 1000]
    np.testing.assert_allclose(np.array(output["data"], np.float32), oracle[0], rtol=0, atol=1e-4)


def test_logits_of_a_binary_tensor_are_those_of_the_oracle(
    front: FunctionUrl, tensor: NDArray[np.float32], oracle: NDArray[np.float32]
) -> None:
    entry: dict[str, Any] = {"name": "input", "datatype": "FP32", "shape": list(tensor.shape)}
    entry["parameters"] = {"binary_data_size": tensor.nbytes}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    answer = ask(front.url, "POST", INFER, header + tensor.tobytes(), length)
    assert answer.status == 200, answer.body
    data = answer.body[int(answer.headers["inference-header-content-length"]) :]
    np.testing.assert_allclose(np.frombuffer(data, "<f4"), oracle[0], rtol=0, atol=1e-4)
