"""A model with gigabytes of weights in a file beside the graph: python -m tests.strangers.large_model FOLDER [GB]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

SIDE = 4096


def write(folder: Path, gigabytes: float = 1.5) -> Path:
    """As many square layers as are needed; `x` FP32 [n, SIDE] -> `y` of the same shape. Returns the graph's path."""
    generator = np.random.default_rng(0)
    nodes, tensors, name = [], [], "x"
    folder.mkdir(parents=True, exist_ok=True)
    layers = max(round(gigabytes * 1e9 / (4 * SIDE * SIDE)), 1)
    with (folder / "large.weights").open("wb") as file:
        for layer in range(layers):
            weights = generator.standard_normal((SIDE, SIDE), np.float32) * np.float32(SIDE**-0.5)
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "large.weights"), ("offset", file.tell()), ("length", weights.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            file.write(weights.tobytes())
            tensors.append(tensor)
            made = "y" if layer == layers - 1 else f"x{layer}"
            nodes += [helper.make_node("MatMul", [name, f"w{layer}"], [f"m{layer}"])]
            nodes += [helper.make_node("Tanh", [f"m{layer}"], [made])]
            name = made
    values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, ["n", SIDE]) for each in ("x", "y")]
    graph = helper.make_graph(nodes, "large", values[:1], values[1:], tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "large.onnx"
    )
    return folder / "large.onnx"


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.5))
