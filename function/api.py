"""The core: one request in, one response out, by a table of routes. It knows neither Lambda nor ASGI."""

from __future__ import annotations

import time

from function import compression, goserve, oip, oip_response
from function.errors import PredictError
from function.message import Response, error_response, json_response
from function.session import Models

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from function.message import Request
    from function.metrics import Metrics
    from function.repository import Metadata
    from function.result_cache import ResultCache
    from function.session import Model
    from function.settings import Settings

    Route = Callable[["Api", Request, dict[str, str]], Response]

VERSION = "0.1.0"
COMPRESS_FROM = 1024  # bytes; smaller answers fit one packet anyway


class Api:
    """The routes over one model repository. `respond` may be called from any number of threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = Models(settings)
        self.metrics: Metrics | None = None  # a server's own
        self._results: ResultCache | None = None
        if settings.result_cache_bytes or settings.result_cache_url:
            from function.result_cache import ResultCache  # only for whoever turns it on

            self._results = ResultCache(settings)

    def respond(self, request: Request) -> Response:
        """The answer to `request`; every failure is one too. Fills request.phases, .model and .route."""
        request.bytes_in = len(request.body)
        try:
            route, parameters = _find(request)
            if encoding := request.headers.get("content-encoding"):
                request.body = compression.inflate(request.body, encoding, self.settings.max_body_bytes)
            if len(request.body) > self.settings.max_body_bytes:
                limit = self.settings.max_body_bytes
                raise PredictError(
                    "PAYLOAD_TOO_LARGE",
                    f"the body has {len(request.body)} bytes, at most {limit} fit; send less or set MAX_BODY_BYTES",
                )
            return _compressed(request, self._answered(route, request, parameters))
        except PredictError as error:
            return error_response(error)
        except MemoryError:
            return error_response(PredictError("UNAVAILABLE", "not enough memory for this request; send a smaller one"))
        except Exception:  # noqa: BLE001  (a defect: its trace is for the log, not for the caller)
            import traceback

            traceback.print_exc()
            return error_response(PredictError("INTERNAL", "the function failed unexpectedly; its log says where"))

    def _answered(self, route: Route, request: Request, parameters: dict[str, str]) -> Response:
        """The route's answer, or the stored one where the same was asked before."""
        if self._results is None or not request.route.endswith(("/infer", "/classify")):
            return route(self, request, parameters)
        metadata = self.models.metadata(parameters.get("model", self.settings.model_name))
        request.model = (metadata.name, metadata.version)
        with _Phase(request, "cache"):
            response = self._results.get(request, metadata, VERSION)
        if response is None:
            response = route(self, request, parameters)
            self._results.put(request, response)
        return response

    def begin(self, request: Request, metadata: Metadata) -> Callable[[], Model]:
        """Begins to load the model if need be; the result waits for it, and that wait is the phase `load`."""
        request.model = (metadata.name, metadata.version)
        loaded, model = self.models.loaded(metadata.name), self.models.begin(metadata.name)

        def ready() -> Model:
            if loaded:
                found = model()
            else:
                with _Phase(request, "load"):
                    found = model()
            request.family = found.artifact.family
            return found

        return ready


class _Phase:
    """Times a block into request.phases, in milliseconds."""

    __slots__ = ("name", "request", "start")

    def __init__(self, request: Request, name: str) -> None:
        self.request, self.name = request, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.request.phases[self.name] = (time.perf_counter() - self.start) * 1000


def _index(_api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    message = "a scale-to-zero inference function; GET /openapi.json describes its routes"
    return json_response(200, {"name": "zeroserve", "version": VERSION, "message": message})


def _openapi(_api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    from function import openapi  # never on the way of an inference

    return Response(200, {"Content-Type": "application/json"}, openapi.document(VERSION))


def _health(_api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, {"status": "ok"})


def _ready(api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    api.models.metadata(api.settings.model_name)  # 503 with the reason when it is not prepared
    return json_response(200, {"status": "ready"})


def _metrics(api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    if api.metrics is None:
        raise PredictError("NOT_FOUND", "/metrics is for a server; on Lambda the metrics are in its log")
    return Response(200, {"Content-Type": api.metrics.CONTENT_TYPE}, api.metrics.render())


def _v1_models(api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    rows = [goserve.model_row(found) for _, found in _all_models(api) if not isinstance(found, PredictError)]
    return json_response(200, {"models": rows})


def _all_models(api: Api) -> Iterator[tuple[str, Metadata | PredictError]]:
    """Each model's name with its metadata, or why it cannot be served."""
    for name in api.models.names():
        try:
            yield name, api.models.metadata(name)
        except PredictError as error:
            yield name, error


def _v1_load(api: Api, request: Request, _parameters: dict[str, str]) -> Response:
    from function import admin  # only the administrator needs it

    with _Phase(request, "load"):
        metadata = admin.load(api.models, api.settings, request)
    request.model = (metadata.name, metadata.version)
    return json_response(201, goserve.model_row(metadata))


def _v1_infer(api: Api, request: Request, parameters: dict[str, str]) -> Response:
    metadata = api.models.metadata(parameters["model"])
    model = api.begin(request, metadata)
    with _Phase(request, "decode"):
        inputs = goserve.decode_infer(request.body, metadata)
    ready = model()
    with _Phase(request, "infer"):
        outputs = ready.run(inputs)
    with _Phase(request, "encode"):
        body = goserve.encode_infer(metadata.name, outputs)
    return Response(200, {"Content-Type": "application/json"}, body)


def _classify(api: Api, request: Request, parameters: dict[str, str]) -> Response:
    from function import classify, image  # only pictures need them

    metadata = api.models.metadata(parameters.get("model", api.settings.model_name))
    rule, k = classify.rule(metadata), classify.top_k(request)
    model = api.begin(request, metadata)
    with _Phase(request, "decode"):
        pixels = image.decode(classify.picture(request), rule)
    ready = model()
    with _Phase(request, "infer"):
        scores = ready.run({rule.input: ready.pixels_to_input(pixels)}, [rule.output])[rule.output]
    with _Phase(request, "encode"):
        best = classify.predictions(scores, rule.activation, metadata.labels, k)
        return json_response(200, {"model_name": metadata.name, "predictions": best})


def _v2(_api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, oip_response.server_metadata(VERSION))


def _v2_live(_api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, {"live": True})


def _v2_ready(api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    try:
        api.models.metadata(api.settings.model_name)
    except PredictError as error:
        return json_response(503, {"live": True, "ready": False, "error": error.message})
    return json_response(200, {"live": True, "ready": True})  # the kserve client wants both


def _versioned(api: Api, parameters: dict[str, str]) -> Metadata:
    metadata = api.models.metadata(parameters["model"])
    version = parameters.get("version", metadata.version)
    if version != metadata.version:
        raise PredictError(
            "NOT_FOUND", f"model {metadata.name!r} has no version {version!r}; it has {metadata.version!r}"
        )
    return metadata


def _v2_model(api: Api, _request: Request, parameters: dict[str, str]) -> Response:
    return json_response(200, oip_response.model_metadata(_versioned(api, parameters)))


def _v2_model_ready(api: Api, _request: Request, parameters: dict[str, str]) -> Response:
    return json_response(200, {"name": _versioned(api, parameters).name, "ready": True})


def _v2_infer(api: Api, request: Request, parameters: dict[str, str]) -> Response:
    metadata = _versioned(api, parameters)
    header_length = oip.parse_header_length(request.headers.get("inference-header-content-length"))
    model = api.begin(request, metadata)
    with _Phase(request, "decode"):
        inference = oip.decode_infer(request.body, header_length, metadata)
    ready = model()
    with _Phase(request, "infer"):
        outputs = ready.run(inference.inputs, [wanted.name for wanted in inference.outputs])
    with _Phase(request, "encode"):
        body, json_length = oip_response.encode_infer(metadata, inference, outputs, metadata.labels)
    if json_length is None:
        return Response(200, {"Content-Type": "application/json"}, body)
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(json_length),
    }
    return Response(200, headers, body)


def _v2_index(api: Api, request: Request, _parameters: dict[str, str]) -> Response:
    only_ready = oip_response.index_request(request.body)
    rows = []
    for name, found in _all_models(api):
        if not isinstance(found, PredictError):
            rows.append({"name": name, "version": found.version, "state": "READY", "reason": ""})
        elif not only_ready:
            rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": found.message})
    return json_response(200, rows)


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
    ("GET", "/v2", _v2),
    ("GET", "/v2/health/live", _v2_live),
    ("GET", "/v2/health/ready", _v2_ready),
    ("GET", "/v2/models/{model}", _v2_model),
    ("GET", "/v2/models/{model}/versions/{version}", _v2_model),
    ("GET", "/v2/models/{model}/ready", _v2_model_ready),
    ("GET", "/v2/models/{model}/versions/{version}/ready", _v2_model_ready),
    ("POST", "/v2/models/{model}/infer", _v2_infer),
    ("POST", "/v2/models/{model}/versions/{version}/infer", _v2_infer),
    ("POST", "/v2/repository/index", _v2_index),
)
_SPLIT = tuple((method, path, path.split("/"), route) for method, path, route in ROUTES)


def _find(request: Request) -> tuple[Route, dict[str, str]]:
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


def _compressed(request: Request, response: Response) -> Response:
    # Answers of a model alone: tritonclient's aio client says that it takes gzip, but reads it in those only.
    accepted = request.headers.get("accept-encoding") if "infer" in request.phases or request.cache else None
    if accepted and len(response.body) >= COMPRESS_FROM and (coding := compression.accepted_encoding(accepted)):
        response.body = compression.deflate(response.body, coding)
        response.headers["Content-Encoding"] = coding
        response.headers["Vary"] = "Accept-Encoding"
    return response
