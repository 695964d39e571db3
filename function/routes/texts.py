"""What models with a [text] answer: OpenAI's POST /v1/embeddings, and the V1 protocol for strings."""

from __future__ import annotations

import struct

from function.codecs import instances, predictions, text
from function.codecs.json_body import Array, check_fields, describe, parse, string_field
from function.errors import invalid
from function.limits import LIMITS
from function.messages import Response, json_response
from function.routes import completions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from function.codecs.json_body import Object
    from function.codecs.text import Texts
    from function.engine.model import Model
    from function.engine.repository import Metadata
    from function.exchange import Exchange
    from function.inference import Inference

_FIELDS = ("model", "input", "encoding_format", "dimensions", "user")
_NUMBER_BYTES = 60  # of memory, for a number of an answer as Python's and as text


def predict(inference: Inference, exchange: Exchange, metadata: Metadata) -> Response:
    """{"predictions"}: the embedding of each text, or its likeliest class."""

    def strings() -> tuple[list[str], str]:
        root, form = instances.body_of(exchange.request)
        if form not in ("instances", "inputs"):
            raise invalid(f'model {metadata.name!r} takes texts: send {{"instances": ["a text", ...]}}')
        return _strings(root, form), form

    def encode(_texts: Texts, rows: list[bytes]) -> Response:
        with _held(rows):
            classes = text.rule_of(metadata)["task"] == "classification"
            found = [_best(_numbers(row), metadata) if classes else _numbers(row) for row in rows]
            return Response(200, {"Content-Type": "application/json"}, predictions.body(found))

    return _respond(inference, exchange, metadata, strings, encode)


def embeddings(inference: Inference, exchange: Exchange, _parameters: dict[str, str]) -> Response:
    """OpenAI's answer: {"object": "list", "data": [...], "model", "usage"}."""
    root = parse(exchange.request.document or exchange.request.body)
    metadata = inference.metadata({"model": string_field(root, "model", "the request")})
    if metadata.upstream is not None:
        exchange.request.document = root
        return completions.complete(inference, exchange, _parameters)
    check_fields(root, _FIELDS, "the request")
    if text.rule_of(metadata)["task"] != "embedding":
        raise invalid(f"model {metadata.name!r} classifies texts; send them to /v1/models/{metadata.name}:predict")
    form = root.get("encoding_format")
    if form not in (None, "float", "base64"):
        raise invalid(f"'encoding_format' is {describe(form)}; float or base64 is expected")
    dimensions = root.get("dimensions")

    def strings() -> tuple[list[str], str]:
        given = root.get("input")
        return ([given], "input") if isinstance(given, str) else (_strings(root, "input"), "input")

    def encode(texts: Texts, rows: list[bytes]) -> Response:
        width = len(rows[0]) // 4
        if dimensions not in (None, width):
            raise invalid(
                f"'dimensions' is {describe(dimensions)}; embeddings of {metadata.name!r} have {width} numbers, and a "
                "part of one is no embedding; leave 'dimensions' out"
            )
        form_of = predictions.base64_of if form == "base64" else _numbers
        with _held(rows if form != "base64" else []):
            data = [
                {"object": "embedding", "index": index, "embedding": form_of(row)} for index, row in enumerate(rows)
            ]
            tokens = sum(texts.lengths)
            usage = {"prompt_tokens": tokens, "total_tokens": tokens}
            return json_response(200, {"object": "list", "data": data, "model": metadata.name, "usage": usage})

    return _respond(inference, exchange, metadata, strings, encode)


def _respond(
    inference: Inference,
    exchange: Exchange,
    metadata: Metadata,
    strings: Callable[[], tuple[list[str], str]],
    encode: Callable[[Texts, list[bytes]], Response],
) -> Response:
    def decode() -> Texts:
        return text.tokenised(*strings(), metadata, lambda: inference.models.get(metadata.name))

    return inference.respond(exchange, metadata, decode, encode, _run)


def _run(model: Model, texts: Texts) -> list[bytes]:
    """A row of FP32 for each text, in their order."""
    output, rows = text.rule_of(model.metadata)["output"], [b""] * len(texts.lengths)
    for batch in texts.batches():
        outputs = model.run(batch.inputs, [output])
        result = model.pooled(outputs[output], batch.mask)
        content = memoryview(result.data).cast("B")  # type: ignore[arg-type]  # FP32
        size = len(content) // len(batch.places)
        for at, place in enumerate(batch.places):
            rows[place] = bytes(content[at * size : (at + 1) * size])
    return rows


def _strings(root: Object, field: str) -> list[str]:
    given = root.get(field)
    if not isinstance(given, Array):
        raise invalid(f"{field!r} must be a text or an array of texts; it is {describe(given)}")
    found = list(instances.filled(given, field))
    for index, each in enumerate(found):
        if not isinstance(each, str):
            raise invalid(f"{field}[{index}] is {describe(each)}; a text is expected")
    return found  # type: ignore[return-value]  # just checked


def _held(rows: list[bytes]) -> Any:
    return LIMITS.hold(sum(map(len, rows)) // 4 * _NUMBER_BYTES, f"the answer to {len(rows)} texts", instances.FEWER)


def _numbers(row: bytes) -> list[Any]:
    return list(struct.unpack(f"<{len(row) // 4}f", row))


def _best(row: list[float], metadata: Metadata) -> dict[str, Any]:
    index = max(range(len(row)), key=row.__getitem__)
    label = metadata.labels[index] if len(metadata.labels) == len(row) else str(index)
    return {"label": label, "index": index, "probability": row[index]}
