"""A tiny text encoder and its tokenizer, made on the spot: an embedding and one layer of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests.support import make_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "a model that answers questions about the weather",
    "il y a des jours où rien ne va",
    "cold starts cost money and patience",
]
WIDTH, CLASSES = 8, 3


def tokenizer() -> Tokenizer:
    """WordPiece of CORPUS' words and letters, with BERT's normalisation and special tokens.

    Not by the package's trainer, which gives another vocabulary each time.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = dict.fromkeys(word for line in CORPUS for word in line.replace("ù", "u").split() if len(word) > 1)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), *words]
    found = Tokenizer(models.WordPiece({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ids = [(token, found.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    found.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return found


def weights() -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(3)
    return {
        "words": generator.normal(0, 1, (120, WIDTH)).astype(np.float32),
        "kinds": generator.normal(0, 1, (2, WIDTH)).astype(np.float32),
        "head": generator.normal(0, 1, (WIDTH, CLASSES)).astype(np.float32),
        "one": np.array(1, np.float32),
        "low": np.array(-1e9, np.float32),
        "axis": np.array([1], np.int64),
    }


def encoder(*, classes: bool = False) -> ModelProto:
    """`input_ids`, `attention_mask`, `token_type_ids` INT64 [n, t] -> `last_hidden_state` FP32 [n, t, WIDTH], or the
    first token's `logits` [n, CLASSES]. What is masked has no influence."""
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["embedded_words"]),
        helper.make_node("Gather", ["kinds", "token_type_ids"], ["embedded_kinds"]),
        helper.make_node("Add", ["embedded_words", "embedded_kinds"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["embedded", "turned"], ["scores"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "mask"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "low"], ["penalty"]),
        helper.make_node("Unsqueeze", ["penalty", "axis"], ["penalties"]),
        helper.make_node("Add", ["scores", "penalties"], ["allowed"]),
        helper.make_node("Softmax", ["allowed"], ["attention"], axis=-1),
        helper.make_node("MatMul", ["attention", "embedded"], ["last_hidden_state"]),
    ]
    shape: list[int | str] = ["n", "t"]
    inputs = [(name, int(TensorProto.INT64), shape) for name in ("input_ids", "attention_mask", "token_type_ids")]
    if not classes:
        used = {name: array for name, array in weights().items() if name != "head"}
        return make_model(nodes, inputs, [("last_hidden_state", TensorProto.FLOAT, [*shape, WIDTH])], used)
    constants = weights() | {"zero": np.array(0, np.int64)}
    nodes += [
        helper.make_node("Gather", ["last_hidden_state", "zero"], ["first"], axis=1),
        helper.make_node("MatMul", ["first", "head"], ["logits"]),
    ]
    return make_model(nodes, inputs, [("logits", TensorProto.FLOAT, ["n", CLASSES])], constants)
