"""The core: one request in, one response out, by a table of routes. It knows neither Lambda nor ASGI."""

from __future__ import annotations

from function.codecs import compression, json_reader
from function.errors import PredictError
from function.inference import Inference
from function.limits import LIMITS
from function.messages import LARGE_BODY, Response, defect_response, error_response
from function.routes.table import find
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.cache.result_cache import ResultCache
    from function.exchange import Exchange
    from function.routes.table import Route
    from function.settings import Settings
    from function.upstream.call import Call

COMPRESS_FROM = 1024  # bytes; smaller answers fit one packet without compression


class App:
    """The routes over one model repository. `respond` may be called from any number of threads at once."""

    def __init__(self, settings: Settings, workers: int = 1) -> None:
        """`workers` requests are worked on at a time."""
        LIMITS.configure(settings, workers)
        json_reader.configure(settings)
        self.settings = settings
        self.inference = Inference(settings)
        if settings.features_url or settings.features_database_url:
            self.inference.connect()
        self._results: ResultCache | None = None
        if settings.result_cache_bytes or settings.result_cache_url:
            from function.cache.result_cache import ResultCache  # only for whoever turns it on

            self._results = ResultCache(settings)

    def goes_upstream(self, exchange: Exchange) -> bool:
        """Whether the answer is an upstream's, so that `respond` has nothing to do that takes a thread."""
        try:
            route, _ = find(exchange)
        except PredictError:
            return False
        if not route.upstream:
            return False
        from function.routes.completions import is_upstreams  # 1 ms, for its routes alone

        return is_upstreams(self.inference, exchange, stored=self._results is not None)

    def respond(self, exchange: Exchange) -> Response:
        """The answer to `exchange.request`, which becomes `exchange.response`; every failure is an answer too."""
        exchange.bytes_in = len(exchange.request.body)
        exchange.response = self._respond(exchange)
        if exchange.objects is not None:
            exchange.objects.close()
        exchange.request.body = b""  # the client may take its time to read the answer
        return exchange.response

    def _respond(self, exchange: Exchange) -> Response:
        try:
            request = exchange.request
            route, parameters = find(exchange)
            if request.method != "POST":
                request.body = b""  # such bodies mean nothing, nor does what their headers say
            encoding = request.headers.get("content-encoding", "") if request.method == "POST" else ""
            length = len(request.body)
            if encoding.strip().lower() not in ("", "identity"):
                length = compression.largest(request.body, encoding, LIMITS.largest_body)
            elif length > LIMITS.largest_body:
                raise PredictError(
                    "PAYLOAD_TOO_LARGE",
                    f"the body has {length} bytes, at most {LIMITS.largest_body} fit; send less or set MAX_BODY_BYTES",
                )
            if length <= LARGE_BODY:
                return self._answer(route, exchange, parameters, encoding)
            with LIMITS.hold_copies(length):
                return self._answer(route, exchange, parameters, encoding)
        except PredictError as error:
            error.__traceback__ = error.__context__ = error.__cause__ = None  # they would keep the request's memory
            return error_response(error)
        except MemoryError:
            message = "not enough memory for this request; send a smaller one"
            return error_response(PredictError("UNAVAILABLE", message, {"Retry-After": "1"}))
        except Exception:  # noqa: BLE001  (a defect: its trace is for the log, not for the caller)
            return defect_response()

    def _answer(self, route: Route, exchange: Exchange, parameters: dict[str, str], encoding: str) -> Response:
        request = exchange.request
        if encoding:
            request.body = compression.inflate(request.body, encoding, LIMITS.largest_body)
        if not route.inference:
            return route.answer(self.inference, exchange, parameters)
        if route.upstream:
            response = route.answer(self.inference, exchange, parameters)
            return _compressed(exchange, response) if exchange.upstream is None else self._asked(exchange, response)
        return _compressed(exchange, self._inferred(route, exchange, parameters))

    def _inferred(self, route: Route, exchange: Exchange, parameters: dict[str, str]) -> Response:
        """The route's answer, or the stored one where the same was asked before."""
        if self._results is None or not route.stored:
            return route.answer(self.inference, exchange, parameters)
        metadata = self.inference.metadata(parameters)
        if metadata.features:  # which change, while the body stays the same
            return route.answer(self.inference, exchange, parameters)
        exchange.model = (metadata.name, metadata.version)
        with exchange.phase("cache"):
            response = self._results.get(exchange, metadata.fingerprint, VERSION)
        if response is None:
            response = route.answer(self.inference, exchange, parameters)
            # Not where the model was replaced meanwhile: the answer may be of another build than the key. Nor where an
            # object was read, which may change while the body stays the same.
            if exchange.objects is None and self.inference.metadata(parameters).fingerprint == metadata.fingerprint:
                self._results.put(exchange, response)
        return response

    def _asked(self, exchange: Exchange, response: Response) -> Response:
        """An upstream's answer, or the stored one; `response`, which is empty, where a server's event loop will ask."""
        call: Call = exchange.upstream.call  # type: ignore[union-attr]  # its caller has looked
        if self._results is not None and call.repeatable:
            with exchange.phase("cache"):
                stored = self._results.get(exchange, call.target.fingerprint, VERSION)
            if stored is not None:
                exchange.upstream = None
                return stored
        if self.inference.defers:
            return response
        from function.upstream.blocking import ask  # 10 ms with `socket`; http.client would be 70

        exchange.response = ask(self.inference.gateway(), exchange)
        self.keep(exchange)
        return exchange.response

    def keep(self, exchange: Exchange) -> None:
        """Stores an upstream's answer, where that was looked for before; it may wait for the shared tier."""
        asked, response = exchange.upstream, exchange.response
        # Not a fallback's answer: it is another model's.
        if self._results and asked and exchange.cache_key and exchange.model and asked.target == exchange.model[0]:
            headers = {"Content-Type": "application/json"}
            self._results.put(exchange, Response(response.status, headers, response.body))


def _compressed(exchange: Exchange, response: Response) -> Response:
    # Answers of a model alone: tritonclient's aio client says that it takes gzip, but reads it in those only.
    accepted = exchange.request.headers.get("accept-encoding")
    if accepted and len(response.body) >= COMPRESS_FROM and (coding := compression.accepted_encoding(accepted)):
        response.body = compression.deflate(response.body, coding)
        response.headers["Content-Encoding"] = coding
        response.headers["Vary"] = "Accept-Encoding"
    return response
