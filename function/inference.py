"""One inference, the same for every route: metadata, load, decode, run, encode, each of them timed once."""

from __future__ import annotations

import threading

from function.concurrency import Background
from function.engine.registry import Models
from function.errors import PredictError, invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol, TypeVar

    from function.aws.references import Buckets
    from function.engine.idle import Idle
    from function.engine.model import Model
    from function.engine.repository import Metadata
    from function.exchange import Exchange
    from function.features.join import Join
    from function.messages import Fetch, Response
    from function.observability.prometheus import Metrics
    from function.settings import Settings
    from function.tensor import Tensor
    from function.upstream.gateway import Gateway

    class Decoded(Protocol):
        """What a decoder makes of a body: each of the model's inputs, and the outputs that are wanted (None: all)."""

        @property
        def inputs(self) -> Mapping[str, Tensor]: ...
        @property
        def output_names(self) -> list[str] | None: ...

    D = TypeVar("D")
    R = TypeVar("R")


def _run(model: Model, decoded: Any) -> Any:
    """The outputs for one Decoded."""
    return model.run(decoded.inputs, decoded.output_names)


class Inference:
    """The models of one repository, and how a request passes through one of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = Models(settings)
        self.metrics: Metrics | None = None  # a server's own
        self.loading = False  # a server still loads the default model
        self._join: Join | None = None
        self._join_lock = threading.Lock()
        self._gateway: Gateway | None = None
        self.defers = False  # calls to upstreams are a server's event loop's to make
        self._buckets: Buckets | None = None
        self.idle: Idle | None = None  # of a process that gives memory back while nobody asks

    def initialise(self, kind: str) -> None:
        """What Lambda's INIT of that kind (AWS_LAMBDA_INITIALIZATION_TYPE) does for the requests to come.

        On demand a request is there already: the load begins, and nobody waits for it; a failure is told to the first
        inference. PredictError where the model is loaded ahead and cannot be.
        """
        name = self.settings.model_name
        if kind == "on-demand":
            # S3 is asked only by those who need an answer of it.
            if self.settings.load_in_init and not self.settings.model_uri:
                self.models.begin(name)
            return
        self.models.warm(name)  # INIT is not on a request's clock
        if kind == "lambda-managed-instances":
            from function.engine.idle import Idle

            self.idle = Idle()
        if kind == "snap-start":
            from function.engine import snapstart

            snapstart.register(self.models)

    def metadata(self, parameters: Mapping[str, str]) -> Metadata:
        """The model that a path names, else the default one; PredictError as `Models.metadata`."""
        return self.models.metadata(parameters.get("model", self.settings.model_name))

    def ready(self, parameters: Mapping[str, str]) -> Metadata:
        """The same, for a probe: PredictError UNAVAILABLE, too, while a server still loads its default model."""
        metadata = self.metadata(parameters)
        if self.loading and metadata.name == self.settings.model_name:
            message = f"model {metadata.name!r} is being loaded; ask again in a second"
            raise PredictError("UNAVAILABLE", message, {"Retry-After": "1"})
        return metadata

    def respond(
        self,
        exchange: Exchange,
        metadata: Metadata,
        decode: Callable[[], D],
        encode: Callable[[D, R], Response],
        run: Callable[[Model, D], R] = _run,
    ) -> Response:
        """What `encode` makes of the model's answer to what `decode` made of the body.

        `run` asks the model: once for the decoded inputs, unless a route knows better. A model that is not loaded yet
        loads while the body is decoded. PredictError of decoder, model and encoder;
        UNAVAILABLE when another build than the one of `metadata` answers to the name by then: the body was checked
        against that one, and so were the version in the path and the stored answers.
        """
        loading = self._begin(exchange, metadata)
        with exchange.phase("decode"):
            decoded = decode()
            exchange.request.body, exchange.request.document = b"", None  # frees their memory for the inference
        if metadata.features:
            self._complete(exchange, metadata, decoded)
        model = loading()
        if model.metadata.fingerprint != metadata.fingerprint:
            message = f"model {metadata.name!r} was replaced while this request was read; ask again"
            raise PredictError("UNAVAILABLE", message, {"Retry-After": "1"})
        with exchange.phase("infer"):
            outputs = run(model, decoded)
        if self.idle is not None:
            self.idle.used()
        with exchange.phase("encode"):
            return encode(decoded, outputs)

    def fetch(self, exchange: Exchange) -> Fetch:
        """What reads the objects of S3 that a request names in place of its bytes; PredictError as InputObjects."""

        def read(uri: str) -> bytes:
            if exchange.objects is None:
                from function.aws.references import Buckets, InputObjects  # brings http.client, which costs 70 ms

                self._buckets = self._buckets or Buckets(self.settings)
                exchange.objects = InputObjects(self._buckets, len(exchange.request.body), exchange.deadline)
            return exchange.objects.read(uri)

        return read

    def join(self) -> Join:
        """The door to entity features, made when it is first asked for. PredictError (UNAVAILABLE) as Join."""
        if self._join is None:
            from function.features.join import Join  # 9 ms, for a model with features alone

            with self._join_lock:
                self._join = self._join or Join(self.settings)
        return self._join

    def gateway(self) -> Gateway:
        """The door to upstreams, made when it is first asked for."""
        if self._gateway is None:
            from function.upstream.gateway import Gateway  # 2 ms, for a model with [upstream] alone

            with self._join_lock:
                self._gateway = self._gateway or Gateway(self.settings, self.models.metadata)
        return self._gateway

    def connect(self) -> None:
        """Connects to the stores of entity features on a thread, if the default model has some; during INIT."""

        def connect() -> None:
            metadata = self.metadata({})
            if metadata.features:
                self.join().connect()

        Background(connect)  # what fails here is told to the first request

    def _complete(self, exchange: Exchange, metadata: Metadata, decoded: Any) -> None:
        """Puts the model's inputs in the place of entity keys and own columns, if that is what came."""
        from function.codecs import entities

        with exchange.phase("features"):
            if found := entities.completed(decoded.inputs, metadata, self.join):
                decoded.inputs, exchange.features = found

    def _begin(self, exchange: Exchange, metadata: Metadata) -> Callable[[], Model]:
        """Begins to load the model if need be; the result waits for it. The phase `load` is what of that is waiting."""
        exchange.model = (metadata.name, metadata.version)
        if metadata.upstream is not None:
            path = "/v1/chat/completions, /v1/completions or /v1/embeddings"
            raise invalid(f"model {metadata.name!r} is an upstream's (its model.toml has [upstream]); ask it by {path}")
        if self.models.loaded(metadata.name):
            model = self.models.get(metadata.name)
            exchange.family = model.artifact.family
            return lambda: model
        with exchange.phase("load"):
            result = self.models.begin(metadata.name)

        def ready() -> Model:
            with exchange.phase("load"):
                model = result()
            exchange.family = model.artifact.family
            return model

        return ready
