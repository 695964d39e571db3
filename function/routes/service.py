"""What the routes about the service itself answer: who it is, whether it is well, its metrics and its description."""

from __future__ import annotations

from function.errors import PredictError
from function.messages import Response, json_response
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.exchange import Exchange
    from function.inference import Inference


def index(_inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    message = "a scale-to-zero inference function; GET /openapi.json describes its routes"
    return json_response(200, {"name": "zeroserve", "version": VERSION, "message": message})


def health(_inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    return json_response(200, {"status": "ok"})


def ready(inference: Inference, _exchange: Exchange, parameters: dict[str, str]) -> Response:
    inference.ready(parameters)  # 503 with the reason when the default model is not prepared
    return json_response(200, {"status": "ready"})


def metrics(inference: Inference, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    if inference.metrics is None:
        raise PredictError("NOT_FOUND", "/metrics is for a server; on Lambda the metrics are in its log")
    return Response(200, {"Content-Type": inference.metrics.CONTENT_TYPE}, inference.metrics.render())
