"""A BERT encoder's safetensors as a model folder for texts: the graph is written by hand, without torch.

python -m models.bert FOLDER_WITH_SAFETENSORS models/minilm
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from models.graphs import IR_VERSION, OPSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = dict[str, NDArray[Any]]

_LOW = -1e9  # added to the scores of padding
_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
MODEL_TOML = """\
name = "{name}"
version = "1"
description = "BERT encoder, {layers} layers of {width}"
licence = "{licence}"
source = "{source}"

[file]
name = "model.onnx"
bytes = {bytes}
sha256 = "{sha256}"

[[inputs]]
name = "input_ids"
datatype = "INT64"
shape = [-1, -1]

[[inputs]]
name = "attention_mask"
datatype = "INT64"
shape = [-1, -1]

[[inputs]]
name = "token_type_ids"
datatype = "INT64"
shape = [-1, -1]

[[outputs]]
name = "last_hidden_state"
datatype = "FP32"
shape = [-1, -1, {width}]

[text] # what strings become
tokenizer = "tokenizer.json"
max_length = {longest}
truncate = {truncate}
task = "embedding"
pooling = "{pooling}"
normalise = true
"""


def read_safetensors(path: Path) -> Weights:
    """Name -> array of a file: an 8-byte length, JSON, and the data (github.com/huggingface/safetensors, "Format")."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    entries = json.loads(content[8 : 8 + length])
    found = {}
    for name, entry in entries.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            values = np.frombuffer(content[start:end], _DTYPES[entry["dtype"]])
            found[name.removeprefix("bert.")] = values.reshape(entry["shape"])
    return found


class _Graph:
    """Nodes and initializers as they are written."""

    def __init__(self, weights: Weights, epsilon: float) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._weights, self._epsilon = weights, epsilon

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self._weights[name].astype(np.float32))

    def linear(self, name: str, x: str) -> str:
        matrix = self.constant(f"{name}.T", np.ascontiguousarray(self._weights[f"{name}.weight"].T.astype(np.float32)))
        return self.node("Add", self.node("MatMul", x, matrix), self.weight(f"{name}.bias"))

    def norm(self, name: str, x: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=self._epsilon)

    def heads(self, name: str, x: str, perm: list[int]) -> str:
        return self.node("Transpose", self.node("Reshape", self.linear(name, x), "SPLIT"), perm=perm)


def encoder(weights: Weights, config: dict[str, Any]) -> ModelProto:
    """`input_ids`, `attention_mask`, `token_type_ids` INT64 [n, t] -> `last_hidden_state` FP32 [n, t, width]."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    graph = _Graph(weights, config["layer_norm_eps"])
    for name, sizes in (("SPLIT", [0, 0, heads, width // heads]), ("JOIN", [0, 0, width]), ("AXES", [1, 2])):
        graph.constant(name, np.array(sizes, np.int64))
    for name, number in (
        ("ONE", 1),
        ("LOW", _LOW),
        ("SCALE", (width // heads) ** -0.5),
        ("HALF", 0.5),
        ("ROOT", 2**-0.5),
    ):
        graph.constant(name, np.array(number, np.float32))
    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    kinds = graph.node("Gather", graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    length = graph.node("Shape", "input_ids", start=1, end=2)
    places = graph.node(
        "Slice",
        graph.weight("embeddings.position_embeddings.weight"),
        graph.constant("FIRST", np.array([0], np.int64)),
        length,
    )
    x = graph.norm("embeddings.LayerNorm", graph.node("Add", graph.node("Add", words, kinds), places))
    mask = graph.node("Sub", "ONE", graph.node("Cast", "attention_mask", to=TensorProto.FLOAT))
    penalty = graph.node("Unsqueeze", graph.node("Mul", mask, "LOW"), "AXES")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        query = graph.heads(f"{layer}.attention.self.query", x, [0, 2, 1, 3])
        key = graph.heads(f"{layer}.attention.self.key", x, [0, 2, 3, 1])
        value = graph.heads(f"{layer}.attention.self.value", x, [0, 2, 1, 3])
        scores = graph.node("Add", graph.node("Mul", graph.node("MatMul", query, key), "SCALE"), penalty)
        context = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
        joined = graph.node("Reshape", graph.node("Transpose", context, perm=[0, 2, 1, 3]), "JOIN")
        attended = graph.linear(f"{layer}.attention.output.dense", joined)
        x = graph.norm(f"{layer}.attention.output.LayerNorm", graph.node("Add", attended, x))
        inner = graph.linear(f"{layer}.intermediate.dense", x)
        erf = graph.node("Add", graph.node("Erf", graph.node("Mul", inner, "ROOT")), "ONE")
        gelu = graph.node("Mul", graph.node("Mul", inner, erf), "HALF")
        x = graph.norm(f"{layer}.output.LayerNorm", graph.node("Add", graph.linear(f"{layer}.output.dense", gelu), x))
    graph.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    names = ("input_ids", "attention_mask", "token_type_ids")
    made = helper.make_graph(
        graph.nodes,
        "bert",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in names],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "t", width])],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    return model


def write(source: Path, target: Path, *, licence: str, truncate: bool) -> None:
    """The model folder `target` from a folder with config.json, model.safetensors and tokenizer.json.

    Pooling and the maximum length are read from sentence-transformers' files where they are there; else mean, and all
    positions. SystemExit for another architecture than BERT's with GELU.
    """
    config = json.loads((source / "config.json").read_text())
    if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
        raise SystemExit(
            f"error: {config['model_type']} with {config['hidden_act']}; BERT with gelu is what this writes"
        )
    pooling, longest = "mean", config["max_position_embeddings"]
    if (path := source / "1_Pooling" / "config.json").is_file():
        pooling = "cls" if json.loads(path.read_text())["pooling_mode_cls_token"] else "mean"
    if (path := source / "sentence_bert_config.json").is_file():
        longest = json.loads(path.read_text())["max_seq_length"] or longest
    content = encoder(read_safetensors(source / "model.safetensors"), config).SerializeToString(deterministic=True)
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(content)
    shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
    fields: dict[str, Any] = {
        "name": target.name,
        "licence": licence,
        "source": f"models/bert.py on {config['_name_or_path']}",
    }
    fields |= {"layers": config["num_hidden_layers"], "width": config["hidden_size"], "bytes": len(content)}
    fields |= {"sha256": hashlib.sha256(content).hexdigest(), "longest": longest, "pooling": pooling}
    (target / "model.toml").write_text(MODEL_TOML.format(truncate=str(truncate).lower(), **fields))


def main() -> None:
    """Writes the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with config.json, model.safetensors and tokenizer.json")
    parser.add_argument("target", type=Path, help="the model folder, called as the model is")
    parser.add_argument("--licence", default="unknown", help="of the weights")
    parser.add_argument("--truncate", action="store_true", help="cut texts that are too long instead of refusing them")
    arguments = parser.parse_args()
    write(arguments.source, arguments.target, licence=arguments.licence, truncate=arguments.truncate)


if __name__ == "__main__":
    main()
