"""What the Open Inference Protocol's routes answer."""

from __future__ import annotations

from function.codecs import oip_request, oip_response
from function.errors import PredictError
from function.messages import Response, json_response
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.engine.repository import Metadata
    from function.exchange import Exchange
    from function.inference import Inference
    from function.tensor import Tensor


def server_metadata(_inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    return json_response(200, oip_response.server_metadata(VERSION))


def live(_inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    return json_response(200, {"live": True})


def ready(inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    try:
        inference.ready({})
    except PredictError as error:
        return json_response(503, {"live": True, "ready": False, "error": error.message})
    return json_response(200, {"live": True, "ready": True})  # the kserve client wants both


def _versioned(inference: Inference, parameters: dict[str, str]) -> Metadata:
    metadata = inference.metadata(parameters)
    version = parameters.get("version", metadata.version)
    if version != metadata.version:
        raise PredictError(
            "NOT_FOUND", f"model {metadata.name!r} has no version {version!r}; it has {metadata.version!r}"
        )
    return metadata


def model_metadata(inference: Inference, _exchange: Exchange, parameters: dict[str, str]) -> Response:
    metadata = _versioned(inference, parameters)
    inputs = metadata.inputs
    if metadata.features:
        from function.codecs import entities

        inputs = entities.specs(metadata)
    document = oip_response.model_metadata(metadata, inputs)
    if metadata.upstream is not None:
        document["platform"] = "openai"
    return json_response(200, document)


def model_ready(inference: Inference, _exchange: Exchange, parameters: dict[str, str]) -> Response:
    _versioned(inference, parameters)
    return json_response(200, {"name": inference.ready(parameters).name, "ready": True})


def infer(inference: Inference, exchange: Exchange, parameters: dict[str, str]) -> Response:
    metadata = _versioned(inference, parameters)
    header_length = oip_request.parse_header_length(exchange.request.headers.get("inference-header-content-length"))

    def decode() -> oip_request.InferRequest:
        body = exchange.request.document or exchange.request.body
        return oip_request.decode_infer(body, header_length, metadata, inference.fetch(exchange))

    def encode(decoded: oip_request.InferRequest, outputs: dict[str, Tensor]) -> Response:
        parameters = None
        if exchange.features is not None:
            from function.codecs import entities

            parameters = entities.parameters(exchange.features)
        body, json_length = oip_response.encode_infer(metadata, decoded, outputs, metadata.labels, parameters)
        if json_length is None:
            return Response(200, {"Content-Type": "application/json"}, body)
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(json_length),
        }
        return Response(200, headers, body)

    return inference.respond(exchange, metadata, decode, encode)


def repository_index(inference: Inference, exchange: Exchange, _parameters: dict[str, str]) -> Response:
    only_ready = oip_response.index_request(exchange.request.body)
    rows = []
    for name, found in inference.models.all():
        if not isinstance(found, PredictError):
            rows.append({"name": name, "version": found.version, "state": "READY", "reason": ""})
        elif not only_ready:
            rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": found.message})
    return json_response(200, rows)
