"""What the routes of GoServe's API answer."""

from __future__ import annotations

import os

from function.codecs import goserve
from function.errors import PredictError
from function.messages import Response, json_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.engine.repository import Metadata
    from function.exchange import Exchange
    from function.inference import Inference
    from function.tensor import InferInputs, Tensor


def models(inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    """GoServe's list under `models`, and OpenAI's under `data`: neither client looks at the other's."""
    found = [each for _, each in inference.models.all() if not isinstance(each, PredictError)]
    data = [{"id": each.name, "object": "model", "created": 0, "owned_by": "zeroserve"} for each in found]
    return json_response(200, {"models": [model_row(each) for each in found], "object": "list", "data": data})


def infer(inference: Inference, exchange: Exchange, parameters: dict[str, str]) -> Response:
    metadata = inference.metadata(parameters)

    def encode(_decoded: InferInputs, outputs: dict[str, Tensor]) -> Response:
        body = goserve.encode_infer(metadata.name, outputs, nullable=metadata.missing == "nan")
        return Response(200, {"Content-Type": "application/json"}, body)

    def decode() -> InferInputs:
        return goserve.decode_infer(exchange.request.document or exchange.request.body, metadata)

    return inference.respond(exchange, metadata, decode, encode)


def model_row(model: Metadata) -> dict[str, Any]:
    """A model as GET and POST /v1/models tell it; `path` is its folder, that of model.toml."""
    inputs, outputs = list(model.inputs), list(model.outputs)
    return {"name": model.name, "path": os.path.dirname(model.folder), "input_nodes": inputs, "output_nodes": outputs}
