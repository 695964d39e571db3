"""What the picture routes answer: the likeliest classes of the picture in a body."""

from __future__ import annotations

import math

from function.codecs import image, json_body, multipart
from function.codecs.json_body import describe
from function.errors import PredictError, invalid
from function.messages import json_response, no_objects
from function.tensor import InferInputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.engine.repository import Metadata
    from function.exchange import Exchange
    from function.inference import Inference
    from function.messages import Body, Fetch, Request, Response
    from function.tensor import ImageRule, Tensor

TOP_K = 5


def classify(inference: Inference, exchange: Exchange, parameters: dict[str, str]) -> Response:
    """{"model_name", "predictions"}: the query's top_k classes, best first."""
    metadata = inference.metadata(parameters)
    rule, k = picture_rule(metadata), top_k(exchange.request)

    def decode() -> InferInputs:
        content = picture(exchange.request, inference.fetch(exchange))
        return InferInputs({rule.input: image.decode(content, rule)}, [rule.output])

    def encode(_decoded: InferInputs, outputs: dict[str, Tensor]) -> Response:
        best = predictions(outputs[rule.output], rule.activation, metadata.labels, k)
        return json_response(200, {"model_name": metadata.name, "predictions": best})

    return inference.respond(exchange, metadata, decode, encode)


def picture(request: Request, fetch: Fetch = no_objects) -> Body:
    """The picture's bytes: the raw body, JSON {"image": base64} or {"uri": object}, or the file of a multipart form."""
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        return multipart.first_file(request.body, content_type)
    # No picture starts with a brace, and clients are careless with Content-Type.
    if request.document or request.body[:64].lstrip().startswith(b"{"):
        root = json_body.parse(request.document or request.body)
        json_body.check_fields(root, ("image", "uri"), "the request")
        if root.get("uri") is not None:
            if root.get("image") is not None:
                raise invalid("the request has 'image' and 'uri'; send one of them")
            return fetch(json_body.string_field(root, "uri", "the request"))
        return image.from_base64(json_body.string_field(root, "image", "the request"))
    return request.body


def picture_rule(metadata: Metadata) -> ImageRule:
    """The model's picture rule; PredictError 400 when the model takes no pictures."""
    if metadata.image is None:
        raise invalid(
            f"model {metadata.name!r} takes no pictures (its model.toml has no [image]); "
            f"send tensors to /v2/models/{metadata.name}/infer"
        )
    return metadata.image


def top_k(request: Request) -> int:
    """The query's top_k, 5 without one; PredictError 400 when it is not a whole number from 1."""
    text = request.query.get("top_k", str(TOP_K))
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 7 and int(text)):
        raise invalid(f"top_k must be a whole number, 1 or more; it is {describe(text)}")
    return int(text)


def predictions(scores: Tensor, activation: str, labels: list[str], k: int) -> list[dict[str, Any]]:
    """The `k` likeliest classes of one row of FP32 scores [1, classes], best first, equals in the order of index.

    Softmax only where model.toml says that the scores are logits. PredictError INTERNAL when a score is not a number,
    UNAVAILABLE when the labels belong to another number of classes.
    """
    values: list[float] = list(scores.numbers())
    if not all(map(math.isfinite, values)):
        raise PredictError("INTERNAL", "the model answered with NaN or Infinity; run: zeroserve verify")
    if labels and len(labels) != len(values):
        count = f"the model gave {len(values)} scores and has {len(labels)} labels"
        raise PredictError("UNAVAILABLE", f"{count}; give model.toml one label for each score and prepare it again")
    # Sorted by score and not by probability, which is 0 for all scores far below the largest.
    best = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:k]
    if activation == "softmax":
        largest = max(values)
        exponentials = [math.exp(value - largest) for value in values]
        total = sum(exponentials)
        values = [value / total for value in exponentials]
    return [
        {"label": labels[index] if labels else str(index), "index": index, "probability": values[index]}
        for index in best
    ]
