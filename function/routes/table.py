"""The table of routes, and which of them a request is for."""

from __future__ import annotations

from function.errors import PredictError
from function.routes import goserve, oip, service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from function.exchange import Exchange
    from function.inference import Inference
    from function.messages import Response

    Answer = Callable[[Inference, Exchange, dict[str, str]], Response]


_VERB = ":predict"


class Route:
    """A method and a path, whose segments in braces match any one segment and become parameters.

    A segment with the verb ":predict" is matched by "{model}:predict" alone.

    `inference`: it runs a model, so its answers are compressed and count as inferences. `stored`: they may be stored,
    for the path says which model it is. `upstream`: the body may name a model that is an upstream's.
    """

    __slots__ = ("answer", "inference", "method", "path", "segments", "stored", "upstream")

    def __init__(self, method: str, path: str, answer: Answer, *, inference: bool = False, stored: bool = True) -> None:
        self.method, self.path, self.answer, self.inference, self.stored = method, path, answer, inference, stored
        self.upstream = False
        self.segments = path.split("/")


def _late(find_answer: Callable[[], Answer]) -> Answer:
    """A route's answer that is imported when it is first asked for: cold starts that do not need it do not pay."""

    def answer(inference: Inference, exchange: Exchange, parameters: dict[str, str]) -> Response:
        return find_answer()(inference, exchange, parameters)

    return answer


@_late
def _classify() -> Answer:
    from function.routes.classify import classify

    return classify


@_late
def _load_model() -> Answer:
    from function.routes.admin import load_model

    return load_model


@_late
def _openapi() -> Answer:
    from function.routes.openapi import openapi

    return openapi


@_late
def _predict() -> Answer:
    from function.routes.predict import predict

    return predict


@_late
def _model_status() -> Answer:
    from function.routes.predict import model_status

    return model_status


@_late
def _embeddings() -> Answer:
    from function.routes.texts import embeddings

    return embeddings


@_late
def _complete() -> Answer:
    from function.routes.completions import complete

    return complete


@_late
def _online_features() -> Answer:
    from function.routes.features import get_online_features

    return get_online_features


@_late
def _write_features() -> Answer:
    from function.routes.features import write

    return write


def _openais(path: str, answer: Answer) -> Route:
    route = Route("POST", path, answer, inference=True, stored=False)
    route.upstream = True
    return route


ROUTES = (
    Route("GET", "/", service.index),
    Route("GET", "/openapi.json", _openapi),
    Route("GET", "/health", service.health),
    Route("GET", "/ready", service.ready),
    Route("GET", "/metrics", service.metrics),
    Route("GET", "/v1/models", goserve.models),
    Route("POST", "/v1/models", _load_model),
    Route("GET", "/v1/models/{model}", _model_status),
    Route("POST", "/v1/models/{model}:predict", _predict, inference=True),
    Route("POST", "/v1/models/{model}/infer", goserve.infer, inference=True),
    Route("POST", "/v1/models/{model}/classify", _classify, inference=True),
    Route("POST", "/classify", _classify, inference=True),
    _openais("/v1/embeddings", _embeddings),
    _openais("/v1/chat/completions", _complete),
    _openais("/v1/completions", _complete),
    Route("POST", "/get-online-features", _online_features),
    Route("POST", "/v1/features/{view}", _write_features),
    Route("GET", "/ping", service.ready),
    Route("POST", "/invocations", _predict, inference=True),
    Route("GET", "/v2", oip.server_metadata),
    Route("GET", "/v2/health/live", oip.live),
    Route("GET", "/v2/health/ready", oip.ready),
    Route("GET", "/v2/models/{model}", oip.model_metadata),
    Route("GET", "/v2/models/{model}/versions/{version}", oip.model_metadata),
    Route("GET", "/v2/models/{model}/ready", oip.model_ready),
    Route("GET", "/v2/models/{model}/versions/{version}/ready", oip.model_ready),
    Route("POST", "/v2/models/{model}/infer", oip.infer, inference=True),
    Route("POST", "/v2/models/{model}/versions/{version}/infer", oip.infer, inference=True),
    Route("POST", "/v2/repository/index", oip.repository_index),
)


def _matches(part: str, got: str) -> bool:
    if part[:1] != "{":
        return part == got
    return got.endswith(_VERB) == (part[-1] != "}")


def _parameter(part: str, got: str) -> tuple[str, str]:
    return part[1:].partition("}")[0], got.removesuffix(_VERB)


def find(exchange: Exchange) -> tuple[Route, dict[str, str]]:
    """The route and its path parameters, told to the exchange; PredictError 404, or 405 for another method's path."""
    request = exchange.request
    segments = request.path.split("/")
    method = "GET" if request.method == "HEAD" else request.method
    allowed = []
    for route in ROUTES:
        if len(route.segments) != len(segments):
            continue
        if all(map(_matches, route.segments, segments)):
            exchange.route, exchange.inference = route.path, route.inference
            if route.method == method:
                pairs = zip(route.segments, segments, strict=True)
                return route, dict(_parameter(part, got) for part, got in pairs if part[:1] == "{")
            allowed.append(route.method)
    if allowed:
        allow = {"Allow": ", ".join([*allowed, "HEAD"] if "GET" in allowed else allowed)}
        message = f"{request.path} takes {' and '.join(allowed)}, not {request.method}"
        raise PredictError("METHOD_NOT_ALLOWED", message, allow)
    raise PredictError("NOT_FOUND", f"there is no {request.path}; GET /openapi.json names the routes")
