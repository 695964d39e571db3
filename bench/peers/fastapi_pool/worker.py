"""What runs in each worker process of the FastAPI peer: one ONNX Runtime session and its inferences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime as ort

if TYPE_CHECKING:
    from threading import Barrier

    import numpy as np

DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}

session: ort.InferenceSession


def start(model: str, all_ready: Barrier) -> None:
    """Load the ONNX file at `model`, then wait until every other worker has done so too."""
    global session  # noqa: PLW0603 - an initializer has nowhere else to leave it
    options = ort.SessionOptions()
    # The processes are the parallelism. With ONNX Runtime's default, one thread for each core in each of
    # them, 17 requests a second became 10 (4 workers, 2 cores).
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    all_ready.wait(timeout=120)


def inputs() -> dict[str, str]:
    """Return the numpy dtype of each input of the model by name; KeyError for a dtype outside DTYPES."""
    return {i.name: DTYPES[i.type] for i in session.get_inputs()}


def predict(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of one inference by name; ValueError when ONNX Runtime refuses the tensors."""
    try:
        outputs = session.run(None, feeds)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's own exceptions cannot be pickled
        raise ValueError(str(error)) from None
    return {o.name: value for o, value in zip(session.get_outputs(), outputs, strict=True)}
