"""The core: one request in, one response out, by a table of routes. It knows neither Lambda nor ASGI."""

from __future__ import annotations

from function.codecs import compression
from function.engine.registry import Models
from function.errors import PredictError
from function.limits import LIMITS
from function.messages import Phase, error_response
from function.routes.table import find
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from function.cache.result_cache import ResultCache
    from function.engine.model import Model
    from function.engine.repository import Metadata
    from function.messages import Request, Response
    from function.observability.prometheus import Metrics
    from function.routes.table import Route
    from function.settings import Settings

COMPRESS_FROM = 1024  # bytes; smaller answers fit one packet anyway


class App:
    """The routes over one model repository. `respond` may be called from any number of threads at once."""

    def __init__(self, settings: Settings, workers: int = 1) -> None:
        LIMITS.configure(settings, workers)
        self.settings = settings
        self.models = Models(settings)
        self.metrics: Metrics | None = None  # a server's own
        self._results: ResultCache | None = None
        if settings.result_cache_bytes or settings.result_cache_url:
            from function.cache.result_cache import ResultCache  # only for whoever turns it on

            self._results = ResultCache(settings)

    def respond(self, request: Request) -> Response:
        """The answer to `request`; every failure is one too. Fills request.phases, .model and .route."""
        request.bytes_in = len(request.body)
        try:
            route, parameters = find(request)
            if encoding := request.headers.get("content-encoding"):
                request.body = compression.inflate(request.body, encoding, LIMITS.largest_body)
            if len(request.body) > LIMITS.largest_body:
                limit = LIMITS.largest_body
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
        with Phase(request, "cache"):
            response = self._results.get(request, metadata, VERSION)
        if response is None:
            response = route(self, request, parameters)
            self._results.put(request, response)
        return response

    def begin(self, request: Request, metadata: Metadata) -> Callable[[], Model]:
        """Begins to load the model if need be; the result waits for it. What of that is waiting is the phase `load`."""
        request.model = (metadata.name, metadata.version)
        if self.models.loaded(metadata.name):
            model = self.models.get(metadata.name)
            request.family = model.artifact.family
            return lambda: model
        with Phase(request, "load"):
            result = self.models.begin(metadata.name)

        def ready() -> Model:
            with Phase(request, "load"):
                found = result()
            request.family = found.artifact.family
            return found

        return ready


def _compressed(request: Request, response: Response) -> Response:
    # Answers of a model alone: tritonclient's aio client says that it takes gzip, but reads it in those only.
    accepted = request.headers.get("accept-encoding") if "infer" in request.phases or request.cache else None
    if accepted and len(response.body) >= COMPRESS_FROM and (coding := compression.accepted_encoding(accepted)):
        response.body = compression.deflate(response.body, coding)
        response.headers["Content-Encoding"] = coding
        response.headers["Vary"] = "Accept-Encoding"
    return response
