"""Open Inference Protocol v2: answers to inference requests, and the metadata of server and model."""

from __future__ import annotations

from function.codecs.raw_tensor import tensor_to_bytes, tensor_to_json
from function.errors import invalid
from function.native import cjson
from function.tensor import Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from typing_extensions import Buffer

    from function.codecs.oip_request import InferRequest
    from function.messages import Body
    from function.tensor import ModelView, Spec

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")


def encode_infer(
    model: ModelView,
    request: InferRequest,
    outputs: Mapping[str, Tensor],
    labels: Sequence[str],
    parameters: Mapping[str, Any] | None = None,
) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON part when binary data follows it (else None).

    `outputs` has at least what the request asks for; `parameters` are the answer's own. PredictError
    (INVALID_ARGUMENT) when an output cannot be given in the form that was asked for.
    """
    entries: list[dict[str, Any]] = []
    binary: list[Buffer] = []
    for wanted in request.outputs:
        tensor = outputs[wanted.name]
        if wanted.classification:
            tensor = classify(wanted.name, tensor, wanted.classification, labels)
        entry: dict[str, Any] = {"name": wanted.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if wanted.binary:
            data = tensor_to_bytes(tensor)
            entry["parameters"] = {"binary_data_size": memoryview(data).nbytes}
            binary.append(data)
        else:
            entry["data"] = tensor_to_json(wanted.name, tensor, nullable=model.outputs[wanted.name].nullable)
        entries.append(entry)
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        answer["id"] = request.id
    if parameters:
        answer["parameters"] = parameters
    answer["outputs"] = entries
    header = cjson.dumps(answer, separators=(",", ":"), allow_nan=False).encode()
    return (b"".join((header, *binary)), len(header)) if binary else (header, None)


def classify(name: str, tensor: Tensor, k: int, labels: Sequence[str]) -> Tensor:
    """The top `k` of each row as BYTES "value:index[:label]", shape [batch, k]; [k] without a batch.

    The first of two or more dimensions is the batch. As in Triton, `k` beyond the number of classes gives
    all of them, and floats have six decimals. Labels are used when there is one for each class; equal values
    keep the order of their indices.
    """
    if tensor.datatype in ("BYTES", "BOOL", "BF16"):
        raise invalid(f"output {name!r} is {tensor.datatype}, which has no order; leave 'classification' out for it")
    values = tensor_to_json(name, tensor)
    batch = tensor.shape[:1] if len(tensor.shape) > 1 else ()
    classes = element_count(tensor.shape[len(batch) :])
    count = min(k, classes)
    form = "{:.6f}:{}" if tensor.datatype[:2] == "FP" else "{}:{}"
    texts: list[bytes] = []
    for start in range(0, element_count(batch) * classes, classes or 1):
        row = values[start : start + classes]
        for index in sorted(range(classes), key=row.__getitem__, reverse=True)[:count]:
            text = form.format(row[index], index)
            texts.append((f"{text}:{labels[index]}" if len(labels) == classes else text).encode())
    return Tensor("BYTES", (*batch, count), texts)


def server_metadata(version: str) -> dict[str, Any]:
    """The answer to GET /v2."""
    return {"name": "zeroserve", "version": version, "extensions": EXTENSIONS}


def model_metadata(model: ModelView, inputs: Mapping[str, Spec] | None = None) -> dict[str, Any]:
    """The answer to GET /v2/models/{name}: what is sent, `inputs` or the model's own, and what comes; -1: any size."""
    return {
        "name": model.name,
        "versions": (model.version,),
        "platform": PLATFORM,
        "inputs": _specs(inputs or model.inputs),
        "outputs": _specs(model.outputs),
    }


def _specs(specs: Mapping[str, Spec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": spec.shape} for spec in specs.values()]


def index_request(body: Body) -> bool:
    """Whether a POST /v2/repository/index asks for ready models only, {"ready": true}; empty: for all."""
    from function.codecs.json_body import check_fields, describe, parse

    if not body.strip():
        return False
    root = parse(body)
    check_fields(root, ("ready",), "the request")
    ready = dict(root.fields()).get("ready", False)
    if not isinstance(ready, bool):
        raise invalid(f"'ready' must be true or false; it is {describe(ready)}")
    return ready
