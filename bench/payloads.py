"""The payload ladder: the same input as JSON, binary and JPEG, and the check that an answer to it is right."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from PIL import Image

from infra.payload import HttpRequest, HttpResponse, encode_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.manifest import Manifest

NESTED = "json-nested"  # what all systems understand
NAMES = (NESTED, "json-flat", "binary", "jpeg")
TOLERANCE = 1e-3  # of a logit or probability; another class needs far more
SEED = 20_241
PHOTOGRAPH = (500, 375)  # width, height: about 100 kB at this quality
QUALITY = 95


class WrongAnswerError(RuntimeError):
    """An answer that is not the prediction of ONNX Runtime itself: its time must not count."""


@dataclass(frozen=True)
class Payload:
    """One POST request; `expected` are the scores that ONNX Runtime gives the same input, [classes].

    They are the model's output for tensors, softmax probabilities for a picture. Under load, `others` take turns with
    `body`.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    expected: Sequence[float]
    others: Sequence[bytes] = ()

    def event(self) -> bytes:
        """The request as the JSON event of a function URL."""
        headers = [("host", "localhost"), *self.headers.items()]
        return encode_event(HttpRequest("POST", self.path, "HTTP/1.1", headers, self.body, "127.0.0.1"))

    def check(self, response: HttpResponse) -> None:
        """WrongAnswerError unless the response is 200 with the right class on top and right scores."""
        if response.status != 200:
            raise WrongAnswerError(f"{self.name}: status {response.status}: {response.body[:300]!r}")
        self.check_scores(_scores(self.name, response))

    def check_scores(self, scores: Mapping[int, float]) -> None:
        """The same for scores by index of class: all of them, or at least the five best for a picture."""
        needed = min(5, len(self.expected)) if self.name == "jpeg" else len(self.expected)
        if len(scores) < needed:
            raise WrongAnswerError(f"{self.name}: {needed} scores expected, {len(scores)} came")
        top, right = max(scores, key=scores.__getitem__), int(np.argmax(self.expected))
        worst = max(abs(score - self.expected[index]) for index, score in scores.items())
        if top != right or not worst <= TOLERANCE:
            raise WrongAnswerError(f"{self.name}: class {right} expected, {top} came; scores are off by {worst}")


def ladder(model: Manifest, names: Sequence[str] = NAMES) -> list[Payload]:
    """The named payloads for a model with one FP32 picture input; the tensors hold the same numbers in each form.

    Seeded: the same bytes each time. ValueError for a model that takes no pictures.
    """
    if model.image is None:
        raise ValueError(f"model {model.name!r} takes no pictures (its model.toml has no [image]); choose another")
    shape = [1 if size < 0 else size for size in next(s.shape for s in model.inputs if s.name == model.image.input)]
    doubles = np.random.default_rng(SEED).uniform(-1, 1, shape)
    oracle = ort.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    tensor_scores = _run(oracle, model, doubles.astype(np.float32))
    found = []
    for name in names:
        if name == "jpeg":
            body = photograph()
            logits = _run(oracle, model, _pixels(body, model))
            found.append(
                Payload(name, "/classify", {"content-type": "image/jpeg"}, body, _probabilities(logits, model))
            )
        else:
            path, headers, body = _tensor_request(name, model, doubles)
            found.append(Payload(name, path, headers, body, tensor_scores))
    return found


def photograph() -> bytes:
    """A JPEG of about 100 kB that looks like a photograph to a decoder: soft shapes and fine grain."""
    random = np.random.default_rng(SEED)
    width, height = PHOTOGRAPH
    layers = np.zeros((height, width, 3))
    for cells, weight in ((5, 90), (17, 40), (60, 18)):
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        soft = coarse.resize(PHOTOGRAPH, Image.Resampling.BICUBIC)
        layers += (np.asarray(soft, dtype=np.float64) / 255 - 0.5) * weight * 2
    layers += random.normal(0, 7, (height, width, 1))
    out = io.BytesIO()
    Image.fromarray(np.clip(layers + 128, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _tensor_request(name: str, model: Manifest, doubles: NDArray[np.float64]) -> tuple[str, dict[str, str], bytes]:
    assert model.image is not None
    tensor = model.image.input
    json_type = {"content-type": "application/json"}
    if name == NESTED:
        return f"/v1/models/{model.name}/infer", json_type, json.dumps({"tensors": {tensor: doubles.tolist()}}).encode()
    path = f"/v2/models/{model.name}/infer"
    if name == "json-flat":
        entry = {"name": tensor, "datatype": "FP32", "shape": doubles.shape, "data": doubles.ravel().tolist()}
        return path, json_type, json.dumps({"inputs": [entry]}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": "0"}
    return path, headers, doubles.astype("<f4").tobytes()


def _scores(name: str, response: HttpResponse) -> dict[int, float]:
    if name == "binary":  # a raw request is answered with JSON and, behind it, raw FP32
        length = int(dict(response.headers)["inference-header-content-length"])
        return dict(enumerate(np.frombuffer(response.body[length:], "<f4").tolist()))
    answer: Any = json.loads(response.body)
    if name == "jpeg":
        return {each["index"]: each["probability"] for each in answer["predictions"]}
    if name == NESTED:
        (rows,) = answer["outputs"].values()
        return dict(enumerate(rows[0]))
    return dict(enumerate(answer["outputs"][0]["data"]))


def _run(oracle: ort.InferenceSession, model: Manifest, values: NDArray[np.float32]) -> list[float]:
    assert model.image is not None
    (scores,) = oracle.run([model.image.output], {model.image.input: values})
    return [float(score) for score in scores[0]]


def _pixels(body: bytes, model: Manifest) -> NDArray[np.float32]:
    """The model's input for a picture, worked out once more with numpy: by model.toml, not by function/."""
    rule = model.image
    assert rule is not None
    image = Image.open(io.BytesIO(body)).convert("RGB")
    height, width = rule.size
    size = (width, height)
    if rule.resize == "shorter_side":
        shorter = min(image.size)
        size = (round(image.width * rule.resize_to / shorter), round(image.height * rule.resize_to / shorter))
    image = image.resize(size, Image.Resampling[rule.filter.upper()])
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    values = (np.asarray(image, dtype=np.float64) / 255 - rule.mean) / rule.std
    planes = values.transpose(2, 0, 1) if rule.layout == "NCHW" else values
    return planes[np.newaxis].astype(np.float32)


def _probabilities(logits: Sequence[float], model: Manifest) -> list[float]:
    assert model.image is not None
    if model.image.activation != "softmax":
        return list(logits)
    exponentials = np.exp(np.array(logits) - max(logits))
    return [float(value) for value in exponentials / exponentials.sum()]
