"""OpenAI's POST /v1/chat/completions, /v1/completions and /v1/embeddings for models that are an upstream's."""

from __future__ import annotations

from function.asked import Asked
from function.codecs.completion import Completion
from function.errors import PredictError, invalid
from function.messages import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.exchange import Exchange
    from function.inference import Inference

ON_THE_LOOP = 256 * 1024  # bytes; a longer body is read by a thread: 1 ms


def complete(inference: Inference, exchange: Exchange, _parameters: dict[str, str]) -> Response:
    """An empty answer, in whose place comes that to `exchange.upstream.call`, once a transport has made the call."""
    request = exchange.request
    body = Completion(request.document or request.body)
    metadata = inference.metadata({"model": body.model})
    exchange.model = (metadata.name, metadata.version)
    if metadata.upstream is None:
        raise invalid(f"model {body.model!r} is no language model (its model.toml has no [upstream])")
    gateway = inference.gateway()
    path = request.path.removeprefix("/v1")
    exchange.upstream = Asked(gateway.call(exchange, metadata, path, body))
    return Response(200, {}, b"")


def is_upstreams(inference: Inference, exchange: Exchange, *, stored: bool) -> bool:
    """Whether the body, which may be none, names such a model, and no thread is needed to answer.

    Where answers are `stored` one may be looked for, which waits for the shared tier.
    """
    request = exchange.request
    if len(request.body) > ON_THE_LOOP or "content-encoding" in request.headers:
        return False
    try:
        body = Completion(request.body)
        request.document = body.root
        rule = inference.metadata({"model": body.model}).upstream
        return rule is not None and not (stored and rule["cache"] and body.repeatable)
    except PredictError:
        return False  # a thread will tell of it
