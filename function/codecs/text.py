"""Strings to token tensors by the model's tokenizer.json, in batches that memory bears."""

from __future__ import annotations

import threading
from array import array

from function.errors import PredictError, invalid
from function.limits import LIMITS
from function.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from function.engine.repository import Metadata

BATCH_TOKENS = 4096  # padding counted: activations of some 6 KB each in a small BERT
_CHARACTER_BYTES = 64  # of memory, for a character of a text until its tokens are tensors
_PADDING = ("[PAD]", "<pad>")

_tokenizers: dict[str, tuple[str, Any]] = {}  # by folder: the model's fingerprint, and its tokenizer
_lock = threading.Lock()


class Batch:
    """Some of the texts: their places in the request, and the tensors that the model and its pooling take."""

    __slots__ = ("inputs", "mask", "places")

    def __init__(self, places: Sequence[int], inputs: dict[str, Tensor], mask: Tensor) -> None:
        self.places, self.inputs, self.mask = places, inputs, mask


class Texts:
    """Tokenised texts; `lengths` are their numbers of tokens."""

    __slots__ = ("_encodings", "_model", "_padding", "lengths")

    def __init__(self, encodings: Sequence[Any], padding: int, model: Metadata) -> None:
        self._encodings, self._padding, self._model = encodings, padding, model
        self.lengths = [len(encoding) for encoding in encodings]

    def batches(self) -> Iterator[Batch]:
        """All texts, the shortest first, each batch padded to its longest."""
        spec = next(iter(self._model.inputs.values()))
        order = sorted(range(len(self.lengths)), key=self.lengths.__getitem__)
        while order:
            size = 1
            if spec.shape[0] < 0:
                while size < len(order) and (size + 1) * self.lengths[order[size]] <= BATCH_TOKENS:
                    size += 1
            yield self._batch(order[:size], spec.shape[1])
            del order[:size]

    def _batch(self, places: Sequence[int], fixed: int) -> Batch:
        width = fixed if fixed > 0 else self.lengths[places[-1]]
        chosen = [self._encodings[place] for place in places]
        shape = (len(places), width)

        def tensor(datatype: str, code: str, rows: Callable[[Any], Sequence[int]], padding: int) -> Tensor:
            values = array(code)
            for encoding in chosen:
                row = rows(encoding)
                values.extend(row)
                values.extend([padding] * (width - len(row)))
            return Tensor(datatype, shape, values)

        sources: dict[str, tuple[Callable[[Any], Sequence[int]], int]] = {
            "input_ids": (lambda encoding: encoding.ids, self._padding),
            "attention_mask": (lambda encoding: encoding.attention_mask, 0),
            "token_type_ids": (lambda encoding: encoding.type_ids, 0),
        }
        inputs = {
            name: tensor(spec.datatype, "q" if spec.datatype == "INT64" else "i", *sources[name])
            for name, spec in self._model.inputs.items()
        }
        return Batch(places, inputs, tensor("FP32", "f", *sources["attention_mask"]))


def tokenised(texts: Sequence[str], field: str, model: Metadata, load: Callable[[], object]) -> Texts:
    """The texts' tokens. `load` brings the model's files where they are still to be fetched.

    PredictError INVALID_ARGUMENT for a text that is longer than the model takes (unless model.toml says truncate) or
    has no tokens; UNAVAILABLE when the tokenizer cannot be had.
    """
    rule = rule_of(model)
    tokenizer = _tokenizer(model, load)
    with LIMITS.hold(_CHARACTER_BYTES * sum(map(len, texts)), "these texts", "send fewer at a time"):
        found = Texts(tokenizer.encode_batch(list(texts)), _padding_of(tokenizer), model)
    fixed = next(iter(model.inputs.values())).shape[1]
    longest = min(rule["max_length"], fixed) if fixed > 0 else rule["max_length"]
    for index, length in enumerate(found.lengths):
        if length > longest:
            raise invalid(
                f"{field}[{index}] has {length} tokens, at most {longest} fit; send a shorter text, or set "
                "truncate = true under [text] in model.toml"
            )
        if not length:
            raise invalid(f"{field}[{index}] has no tokens; send a text that is not empty")
    return found


def rule_of(model: Metadata) -> dict[str, Any]:
    """[text] of model.toml; PredictError 400 when the model takes no texts."""
    if model.text is None:
        raise invalid(f"model {model.name!r} takes no texts (its model.toml has no [text])")
    return model.text


def _padding_of(tokenizer: Any) -> int:
    found = (tokenizer.token_to_id(token) for token in _PADDING)
    return next((number for number in found if number is not None), 0)


def _tokenizer(model: Metadata, load: Callable[[], object]) -> Any:
    with _lock:
        fingerprint, tokenizer = _tokenizers.get(model.folder, ("", None))
        if fingerprint != model.fingerprint:
            tokenizer = _read(model, load)
            _tokenizers[model.folder] = (model.fingerprint, tokenizer)
        return tokenizer


def _read(model: Metadata, load: Callable[[], object]) -> Any:
    import zlib

    rule, path = rule_of(model), f"{model.folder}/tokenizer.json"
    try:
        from tokenizers import Tokenizer  # 40 ms, and 11 MB of library
    except ImportError as error:
        raise PredictError(
            "UNAVAILABLE", f"texts need the package tokenizers: {error}; run: pip install tokenizers"
        ) from error
    try:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            load()
            with open(path, "rb") as file:
                content = file.read()
        if zlib.crc32(content) != rule["crc32"]:
            raise ValueError("it was replaced or is damaged")
        tokenizer = Tokenizer.from_str(content.decode())
    except PredictError:
        raise
    except Exception as error:  # the package raises Exception itself
        raise PredictError("UNAVAILABLE", f"{path} is no tokenizer that can be used: {error}") from error
    tokenizer.no_padding()
    fixed = next(iter(model.inputs.values())).shape[1]
    if rule["truncate"]:
        tokenizer.enable_truncation(min(rule["max_length"], fixed) if fixed > 0 else rule["max_length"])
    else:
        tokenizer.no_truncation()
    return tokenizer
