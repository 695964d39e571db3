"""FastAPI behind AWS's Lambda Web Adapter: pydantic bodies, and an ONNX Runtime session made at import."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

MODEL_NAME = os.environ["MODEL_NAME"]

session = ort.InferenceSession(os.environ["MODEL_PATH"], providers=["CPUExecutionProvider"])
output_names = [output.name for output in session.get_outputs()]
app = FastAPI(openapi_url=None)


class InferRequest(BaseModel):
    """Nested lists by tensor name."""

    # Not list[list[list[list[float]]]]: that costs pydantic another 2 ms, and numpy checks the numbers.
    tensors: dict[str, list[Any]]


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/v1/models/{model_name}/infer")
def infer(model_name: str, request: InferRequest) -> dict[str, Any]:
    if model_name != MODEL_NAME:
        raise HTTPException(404, f"no model named {model_name!r}; there is {MODEL_NAME!r}")
    try:
        feeds = {name: np.asarray(nested, dtype=np.float32) for name, nested in request.tensors.items()}
        outputs = session.run(None, feeds)
    except Exception as error:  # noqa: BLE001  (ONNX Runtime's own exceptions have no common type)
        raise HTTPException(400, str(error)) from None
    named = {name: value.tolist() for name, value in zip(output_names, outputs, strict=True)}
    return {"model_name": MODEL_NAME, "outputs": named}
