"""[text] of model.toml: for a graph that takes tokens, with the tokenizer.json that makes them of strings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from models.adding.words import AddError
from models.declared import TOKEN_INPUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from function.tensor import Spec
    from models.adding.source import Source

TOKENIZER = "tokenizer.json"
MAX_LENGTH = 512  # tokens, where neither the tokenizer nor the model says it: BERT's
_ENDLESS = 1_000_000  # transformers writes 1e30 where it does not know
_EMBEDDING = "sentence_embedding"  # as sentence-transformers exports one that is pooled and normalised already
_SCORES = ("logits", "probabilities", "scores")  # of classes, where an output is called so


def find(
    source: Source, wished: Path | None, inputs: Mapping[str, Spec], outputs: Mapping[str, Spec], labels: list[str]
) -> tuple[Path, dict[str, Any]] | None:
    """The tokenizer and [text]; None for a graph that takes no texts, or one without a tokenizer.json beside it.

    AddError when `wished` cannot be used, or not with this graph.
    """
    path = wished or source.path.parent / TOKENIZER
    output = _output(outputs.values())
    fits = {"input_ids", "attention_mask"} <= set(inputs) and all(_takes_tokens(spec) for spec in inputs.values())
    if not fits or output is None or not path.is_file():
        if wished and not path.is_file():
            raise AddError(f"--tokenizer {path} is not there; name the model's {TOKENIZER}")
        if wished:
            raise AddError(
                f"--tokenizer needs the inputs input_ids and attention_mask, perhaps token_type_ids, INT64 or INT32 of "
                f"the shape [-1, -1], and an FP32 output of numbers; the model has {_listed(inputs)} -> "
                f"{_listed(outputs)}"
            )
        return None
    _check(path)
    classes = len(output.shape) == 2 and (bool(labels) or output.name in _SCORES)
    text: dict[str, Any] = {
        "tokenizer": TOKENIZER,
        "max_length": _max_length(path, source, inputs),
        "truncate": False,
        "task": "classification" if classes else "embedding",
        "output": output.name,
    }
    if classes:
        softmaxed = {name for node in source.model.graph.node if node.op_type == "Softmax" for name in node.output}
        text["activation"] = "none" if output.name in softmaxed or output.name == "probabilities" else "softmax"
    else:
        text |= {"pooling": "mean", "normalise": True} if len(output.shape) == 3 else {"pooling": "none"}
    return path, text


def told(text: Mapping[str, Any]) -> str:
    """What was found, in a line."""
    how = {"mean": "the mean of its tokens, made as long as 1", "none": "as the graph gives it"}
    made = f"an embedding, {how[text['pooling']]}" if "pooling" in text else "a class"
    return f"takes texts of at most {text['max_length']} tokens by {TOKENIZER} and makes {made}, of {text['output']!r}"


def example(name: str, text: Mapping[str, Any]) -> dict[str, Any]:
    """A request of one sentence: OpenAI's for embeddings, V1's for classes."""
    sentence = ["A river floods the valley."]
    return {"instances": sentence} if text["task"] == "classification" else {"model": name, "input": sentence}


def _check(path: Path) -> None:
    """AddError for a file that the tokenizers package does not take; without the package, preparing says so."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises Exception itself
        raise AddError(
            f"{path} is no tokenizer that can be used: {error}; get the model's {TOKENIZER} again"
        ) from error


def _takes_tokens(spec: Spec) -> bool:
    known = spec.name in TOKEN_INPUTS and spec.datatype in ("INT64", "INT32")
    return known and len(spec.shape) == 2 and spec.shape[0] in (-1, 1)


def _output(outputs: Iterable[Spec]) -> Spec | None:
    """A pooled embedding by its name, else numbers for each token, else for each text."""
    found = [spec for spec in outputs if spec.datatype == "FP32"]
    named = [spec for spec in found if spec.name == _EMBEDDING and len(spec.shape) == 2]
    tokens = [spec for spec in found if len(spec.shape) == 3 and spec.name not in _SCORES]  # scores of tokens: no
    return next(iter([*named, *tokens, *(spec for spec in found if len(spec.shape) == 2)]), None)


def _max_length(path: Path, source: Source, inputs: Mapping[str, Spec]) -> int:
    """What the tokenizer says, or tokenizer_config.json beside it, or the graph's table of positions; within an input
    of a fixed length."""
    positions: list[int] = [
        tensor.dims[0]
        for tensor in source.model.graph.initializer
        if "position_embeddings" in tensor.name and len(tensor.dims) == 2
    ]
    told = [
        (_read(path).get("truncation") or {}).get("max_length"),
        _read(path.with_name("tokenizer_config.json")).get("model_max_length"),
        *positions,
    ]
    numbers = [int(each) for each in told if isinstance(each, (int, float)) and 0 < each < _ENDLESS]
    fixed: list[int] = [spec.shape[1] for spec in inputs.values() if spec.shape[1] > 0]
    return min([numbers[0] if numbers else MAX_LENGTH, *positions, *fixed])


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file. AddError for what is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AddError(f"{path} cannot be read: {error}; get the model's {path.name} again") from error
    if not isinstance(document, dict):
        raise AddError(f"{path} is no JSON object; get the model's {path.name} again")
    return document


def _listed(tensors: Mapping[str, Spec]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in tensors.values())
