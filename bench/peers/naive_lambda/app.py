"""The naive Lambda peer: Starlette and Mangum over an ONNX Runtime session made at import."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from mangum import Mangum
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

MODEL_NAME = os.environ["MODEL_NAME"]
MODEL_PATH = Path(os.environ["MODEL_PATH"])
SIZE = 224  # height and width of the model's input, in pixels

labels = MODEL_PATH.with_name("labels.txt").read_text(encoding="utf-8").splitlines()
session = ort.InferenceSession(MODEL_PATH, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name
output_names = [output.name for output in session.get_outputs()]


async def health(_: Request) -> JSONResponse:
    """GET /health."""
    return JSONResponse({"status": "ok"})


async def infer(request: Request) -> JSONResponse:
    """POST /v1/models/{model}/infer: {"tensors": {name: nested}} or {"inputs": nested}, float32."""
    if request.path_params["model"] != MODEL_NAME:
        raise HTTPException(404, f"no model named {request.path_params['model']!r}; there is {MODEL_NAME!r}")
    body = await request.json()
    tensors = body["tensors"] if "tensors" in body else {input_name: body["inputs"]}
    outputs = session.run(None, {name: np.array(data, dtype=np.float32) for name, data in tensors.items()})
    named = {name: value.tolist() for name, value in zip(output_names, outputs, strict=True)}
    return JSONResponse({"model_name": MODEL_NAME, "outputs": named})


async def classify(request: Request) -> JSONResponse:
    """POST /classify with an image as the body: the five likeliest classes."""
    image = Image.open(io.BytesIO(await request.body())).convert("RGB")
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1.0  # HWC, from [0, 255] to [-1, 1]
    logits = session.run(None, {input_name: pixels.transpose(2, 0, 1)[np.newaxis]})[0][0]
    exps = np.exp(logits - logits.max())
    probabilities = exps / exps.sum()
    top = [int(index) for index in np.argsort(probabilities)[::-1][:5]]
    predictions = [
        {"label": labels[index], "index": index, "probability": float(probabilities[index])} for index in top
    ]
    return JSONResponse({"model_name": MODEL_NAME, "predictions": predictions})


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/v1/models/{model}/infer", infer, methods=["POST"]),
        Route("/classify", classify, methods=["POST"]),
    ]
)
handler = Mangum(app, lifespan="off")
