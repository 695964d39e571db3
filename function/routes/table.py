"""The table of routes, and what the routes of GoServe's API and for pictures answer."""

from __future__ import annotations

from function.codecs import goserve
from function.errors import PredictError
from function.messages import Phase, Response, json_response
from function.routes import oip
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from function.app import App
    from function.messages import Request

    Route = Callable[["App", Request, dict[str, str]], Response]


def _index(_api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    message = "a scale-to-zero inference function; GET /openapi.json describes its routes"
    return json_response(200, {"name": "zeroserve", "version": VERSION, "message": message})


def _openapi(_api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    from function.routes import openapi  # never on the way of an inference

    return Response(200, {"Content-Type": "application/json"}, openapi.document(VERSION))


def _health(_api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, {"status": "ok"})


def _ready(api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    api.models.metadata(api.settings.model_name)  # 503 with the reason when it is not prepared
    return json_response(200, {"status": "ready"})


def _metrics(api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    if api.metrics is None:
        raise PredictError("NOT_FOUND", "/metrics is for a server; on Lambda the metrics are in its log")
    return Response(200, {"Content-Type": api.metrics.CONTENT_TYPE}, api.metrics.render())


def _v1_models(api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    rows = [goserve.model_row(found) for _, found in api.models.all() if not isinstance(found, PredictError)]
    return json_response(200, {"models": rows})


def _v1_load(api: App, request: Request, _parameters: dict[str, str]) -> Response:
    from function.routes import admin  # only the administrator needs it

    with Phase(request, "load"):
        metadata = admin.load(api.models, api.settings, request)
    request.model = (metadata.name, metadata.version)
    return json_response(201, goserve.model_row(metadata))


def _v1_infer(api: App, request: Request, parameters: dict[str, str]) -> Response:
    metadata = api.models.metadata(parameters["model"])
    model = api.begin(request, metadata)
    with Phase(request, "decode"):
        inputs = goserve.decode_infer(request.body, metadata)
        request.body = b""  # its memory is of more use to the inference
    ready = model()
    with Phase(request, "infer"):
        outputs = ready.run(inputs)
    with Phase(request, "encode"):
        body = goserve.encode_infer(metadata.name, outputs)
    return Response(200, {"Content-Type": "application/json"}, body)


def _classify(api: App, request: Request, parameters: dict[str, str]) -> Response:
    from function.codecs import image  # only pictures need them
    from function.routes import classify

    metadata = api.models.metadata(parameters.get("model", api.settings.model_name))
    rule, k = classify.rule(metadata), classify.top_k(request)
    model = api.begin(request, metadata)
    with Phase(request, "decode"):
        pixels = image.decode(classify.picture(request), rule)
    ready = model()
    with Phase(request, "infer"):
        scores = ready.run({rule.input: ready.pixels_to_input(pixels)}, [rule.output])[rule.output]
    with Phase(request, "encode"):
        best = classify.predictions(scores, rule.activation, metadata.labels, k)
        return json_response(200, {"model_name": metadata.name, "predictions": best})


# (method, path, answer); {model} and {version} match one segment
ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", "/", _index),
    ("GET", "/openapi.json", _openapi),
    ("GET", "/health", _health),
    ("GET", "/ready", _ready),
    ("GET", "/metrics", _metrics),
    ("GET", "/v1/models", _v1_models),
    ("POST", "/v1/models", _v1_load),
    ("POST", "/v1/models/{model}/infer", _v1_infer),
    ("POST", "/v1/models/{model}/classify", _classify),
    ("POST", "/classify", _classify),
    ("GET", "/v2", oip.server_metadata),
    ("GET", "/v2/health/live", oip.live),
    ("GET", "/v2/health/ready", oip.ready),
    ("GET", "/v2/models/{model}", oip.model_metadata),
    ("GET", "/v2/models/{model}/versions/{version}", oip.model_metadata),
    ("GET", "/v2/models/{model}/ready", oip.model_ready),
    ("GET", "/v2/models/{model}/versions/{version}/ready", oip.model_ready),
    ("POST", "/v2/models/{model}/infer", oip.infer),
    ("POST", "/v2/models/{model}/versions/{version}/infer", oip.infer),
    ("POST", "/v2/repository/index", oip.repository_index),
)
_SPLIT = tuple((method, path, path.split("/"), route) for method, path, route in ROUTES)


def find(request: Request) -> tuple[Route, dict[str, str]]:
    """The route and its path parameters; PredictError 404, or 405 for a path that another method has."""
    segments = request.path.split("/")
    method = "GET" if request.method == "HEAD" else request.method
    allowed = []
    for want, path, pattern, route in _SPLIT:
        if len(pattern) != len(segments):
            continue
        if all(part == got or part[:1] == "{" for part, got in zip(pattern, segments, strict=True)):
            request.route = path
            if want == method:
                pairs = zip(pattern, segments, strict=True)
                return route, {part[1:-1]: got for part, got in pairs if part[:1] == "{"}
            allowed.append(want)
    if allowed:
        allow = {"Allow": ", ".join([*allowed, "HEAD"] if "GET" in allowed else allowed)}
        message = f"{request.path} takes {' and '.join(allowed)}, not {request.method}"
        raise PredictError("METHOD_NOT_ALLOWED", message, allow)
    raise PredictError("NOT_FOUND", f"there is no {request.path}; GET /openapi.json names the routes")
