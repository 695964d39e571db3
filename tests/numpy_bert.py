"""Sentence embeddings by BERT in numpy's double precision: what models/bert.py's graph is compared with.

python -m tests.numpy_bert FOLDER < sentences.json > embeddings.json
"""

from __future__ import annotations

import json
import math
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import erf  # type: ignore[import-untyped]
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class Bert:
    """The encoder of a folder with config.json, model.safetensors and tokenizer.json."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        content = (folder / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        self._entries, self._data = json.loads(content[8 : 8 + length]), content[8 + length :]
        self._weights: dict[str, Array] = {}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def weight(self, name: str) -> Array:
        if name not in self._weights:
            entry = self._entries[name]
            start, end = entry["data_offsets"]
            values = np.frombuffer(self._data[start:end], np.float32)
            self._weights[name] = values.reshape(entry["shape"]).astype(np.float64)
        return self._weights[name]

    def linear(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.weight(f"{name}.weight").T + self.weight(f"{name}.bias"))

    def norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return np.asarray(scaled * self.weight(f"{name}.weight") + self.weight(f"{name}.bias"))

    def embedding(self, sentence: str) -> Array:
        """The mean of the tokens' last hidden states, of length 1; one sentence at a time needs no mask."""
        encoding = self.tokenizer.encode(sentence)
        x = self.weight("embeddings.word_embeddings.weight")[encoding.ids]
        x = x + self.weight("embeddings.position_embeddings.weight")[: len(encoding.ids)]
        x = self.norm("embeddings.LayerNorm", x + self.weight("embeddings.token_type_embeddings.weight")[0])
        for index in range(self.config["num_hidden_layers"]):
            x = self._layer(f"encoder.layer.{index}", x)
        mean = x.mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean))

    def _layer(self, layer: str, x: Array) -> Array:
        heads = self.config["num_attention_heads"]
        parts = [self.linear(f"{layer}.attention.self.{part}", x) for part in ("query", "key", "value")]
        query, key, value = (part.reshape(len(x), heads, -1).swapaxes(0, 1) for part in parts)
        scores = query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        context = (shares @ value).swapaxes(0, 1).reshape(x.shape)
        x = self.norm(
            f"{layer}.attention.output.LayerNorm", x + self.linear(f"{layer}.attention.output.dense", context)
        )
        inner = self.linear(f"{layer}.intermediate.dense", x)
        gelu = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        return self.norm(f"{layer}.output.LayerNorm", x + self.linear(f"{layer}.output.dense", gelu))


def main() -> None:
    """Reads sentences from standard input, writes their embeddings to standard output."""
    bert = Bert(Path(sys.argv[1]))
    json.dump([bert.embedding(sentence).tolist() for sentence in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
