"""What the routes of KServe's V1 protocol answer, which SageMaker's and MLflow's /invocations share."""

from __future__ import annotations

from function.codecs import instances, predictions
from function.messages import Response, json_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.exchange import Exchange
    from function.inference import Inference
    from function.tensor import InferInputs, Tensor


def model_status(inference: Inference, _exchange: Exchange, parameters: dict[str, str]) -> Response:
    return json_response(200, {"name": inference.metadata(parameters).name, "ready": True})


def predict(inference: Inference, exchange: Exchange, parameters: dict[str, str]) -> Response:
    metadata = inference.metadata(parameters)
    if metadata.processing:
        from function.routes import processed

        return processed.predict(inference, exchange, metadata)
    if metadata.text:
        from function.routes import texts

        return texts.predict(inference, exchange, metadata)

    def decode() -> InferInputs:
        return instances.decode(exchange.request, metadata, inference.fetch(exchange))

    def encode(decoded: InferInputs, outputs: dict[str, Tensor]) -> Response:
        shape = next((tensor.shape for tensor in decoded.inputs.values() if tensor.shape), (1,))
        rows = predictions.of_outputs(outputs, shape[0], metadata)
        told = None if exchange.features is None else {"defaulted": exchange.features.defaulted}
        return Response(200, {"Content-Type": "application/json"}, predictions.body(rows, told))

    return inference.respond(exchange, metadata, decode, encode)
