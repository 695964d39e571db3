"""What models with a processing.py answer in the V1 protocol: a call before and one after each run of the model."""

from __future__ import annotations

import json

from function.codecs import instances, plain, predictions
from function.codecs.hook_tensors import Output, to_tensors
from function.codecs.hooks import Hooks
from function.errors import PredictError, invalid
from function.messages import Response
from function.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from function.engine.model import Model
    from function.engine.repository import Metadata
    from function.exchange import Exchange
    from function.inference import Inference
    from function.tensor import InferInputs


class _Work:
    """A request: instances for preprocess, of which the first is done, or the whole batch where there is none."""

    __slots__ = ("batch", "first", "hooks", "rest")

    def __init__(self, hooks: Hooks, batch: InferInputs | None, first: dict[str, Tensor], rest: list[Any]) -> None:
        self.hooks, self.batch, self.first, self.rest = hooks, batch, first, rest


def predict(inference: Inference, exchange: Exchange, metadata: Metadata) -> Response:
    """{"predictions"}: what postprocess makes of the outputs, one call for each instance."""
    if metadata.loaded_by_request and not inference.settings.allow_loaded_processing:
        raise PredictError(
            "UNAVAILABLE",
            f"model {metadata.name!r} has a processing.py, which is off for models that were loaded by a request or "
            "fetched; set ALLOW_LOADED_PROCESSING=1, or deploy it with the function",
        )

    def decode() -> _Work:
        hooks = Hooks(metadata, lambda: inference.models.get(metadata.name), exchange.deadline)
        if hooks.preprocess is None:
            batch = instances.decode(exchange.request, metadata, inference.fetch(exchange))
            return _Work(hooks, batch, {}, [])
        given = plain.instances_of(exchange.request)
        return _Work(hooks, None, _prepared(hooks, given[0], metadata), given[1:])

    def run(model: Model, work: _Work) -> list[str]:
        return [_postprocessed(work.hooks, outputs, metadata) for outputs in _outputs(model, work)]

    def encode(_work: _Work, texts: list[str]) -> Response:
        body = f'{{"predictions":[{",".join(texts)}]}}'.encode("utf-8", "replace")
        return Response(200, {"Content-Type": "application/json"}, body)

    return inference.respond(exchange, metadata, decode, encode, run)


def _prepared(hooks: Hooks, instance: Any, metadata: Metadata) -> dict[str, Tensor]:
    given = hooks.call("preprocess", hooks.preprocess, instance)  # type: ignore[arg-type]  # it has one
    try:
        return to_tensors(given, metadata.inputs)
    except PredictError as error:
        raise hooks.failed(error.message) from error


def _outputs(model: Model, work: _Work) -> Iterator[dict[str, Tensor]]:
    """The outputs for each instance, one after the other, so that memory holds those of one."""
    if work.batch is not None:
        outputs = model.run(work.batch.inputs, work.batch.output_names)
        shape = next((tensor.shape for tensor in work.batch.inputs.values() if tensor.shape), (1,))
        yield from _rows(outputs, shape[0])
        return
    yield model.run(work.first)
    for instance in work.rest:
        yield model.run(_prepared(work.hooks, instance, model.metadata))


def _rows(outputs: Mapping[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """The outputs of a batch, cut into those of each instance."""
    if count == 1:
        yield dict(outputs)
        return
    for name, tensor in outputs.items():
        if tensor.shape[:1] != (count,):
            raise invalid(f"output {name!r} has no row for each of {count} instances; send one at a time")
    for index in range(count):
        yield {name: _row(tensor, index) for name, tensor in outputs.items()}


def _row(tensor: Tensor, index: int) -> Tensor:
    content = tensor.data if isinstance(tensor.data, list) else memoryview(tensor.data).cast("B")
    size = len(content) // tensor.shape[0]
    part = content[index * size : (index + 1) * size]
    return Tensor(tensor.datatype, (1, *tensor.shape[1:]), part if isinstance(part, list) else bytes(part))


def _postprocessed(hooks: Hooks, outputs: dict[str, Tensor], metadata: Metadata) -> str:
    if hooks.postprocess is None:
        found = predictions.of_one(outputs, metadata)
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def hook(given: Any) -> str:
        return json.dumps(hooks.postprocess(given), ensure_ascii=False, separators=(",", ":"), allow_nan=False)  # type: ignore[misc]

    return hooks.call("postprocess", hook, {name: Output(tensor) for name, tensor in outputs.items()})  # type: ignore[no-any-return]
