"""Trains MobileNetV2 on handwritten digits from a random start, and exports models/digits/model.onnx.

PyTorch is needed here and nowhere else, so it gets an environment that is thrown away afterwards (5 GB,
for the plain wheels bring CUDA along). It took 32 minutes on two cores that had other work as well:

    python -m venv ../torch-env
    ../torch-env/bin/pip install torch torchvision onnx onnxruntime scikit-learn pillow tqdm
    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 ../torch-env/bin/python -m models.train_digits

The two settings make glibc keep freed memory: without them much of each step goes into page faults.
The accuracy printed at the end is that of the exported file in ONNX Runtime on the held-out pictures. They
choose nothing: neither settings nor a checkpoint. Another machine or PyTorch gives slightly other weights.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torchvision.models import mobilenet_v2
from tqdm import tqdm

from models import digits_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "digits"
SIZE = 224
BATCH = 48
# (picture side, passes over the training pictures, peak learning rate): most is learnt where a step is cheap.
STAGES = ((96, 45, 2e-3), (SIZE, 10, 1e-3))
OPSET = 17


def serving_input(png: bytes) -> NDArray[np.float32]:
    """Turn a PNG file into the model's input, float32 [3, 224, 224], as model.toml tells the server to."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    scaled = np.asarray(picture, dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(((scaled - np.float32(0.5)) / np.float32(0.5)).transpose(2, 0, 1))


def augment(inputs: Any, side: int) -> Any:
    """Move, turn, scale and shear each picture a little: [n, 1, 224, 224] -> [n, 3, side, side]."""
    n = len(inputs)
    angle = (torch.rand(n) * 2 - 1) * math.radians(12)
    scale = 1 + (torch.rand(n, 2) * 2 - 1) * 0.12
    shear = (torch.rand(n) * 2 - 1) * 0.15
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.empty(n, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos * scale[:, 0], (shear * cos - sin) * scale[:, 0]
    matrix[:, 1, 0], matrix[:, 1, 1] = sin * scale[:, 1], (shear * sin + cos) * scale[:, 1]
    matrix[:, :, 2] = (torch.rand(n, 2) * 2 - 1) * 0.2
    grid = nn.functional.affine_grid(matrix, [n, 1, side, side], align_corners=False)
    # grid_sample fills with 0, which is mid-grey here: +1 and -1 make it black, as the digits' ground is.
    moved = nn.functional.grid_sample(inputs + 1, grid, align_corners=False) - 1
    return moved.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def train() -> Any:
    """Train and return the averaged network in evaluation mode."""
    torch.manual_seed(0)
    pictures, numbers = digits_data.training()
    # One channel of three equal ones is kept; augment() copies it back.
    inputs: Any = torch.from_numpy(np.stack([serving_input(digits_data.to_png(p))[:1] for p in pictures]))
    labels = torch.from_numpy(numbers)
    net = mobilenet_v2(num_classes=10, dropout=0.2).to(memory_format=torch.channels_last)
    average: Any = get_ema_multi_avg_fn
    averaged = AveragedModel(net, multi_avg_fn=average(0.99), use_buffers=True)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    kept = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups)
    per_pass = len(labels) // BATCH
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for side, passes, peak in STAGES:
        steps = passes * per_pass
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, pct_start=0.1)
        for number in range(passes):
            net.train()
            order = torch.randperm(len(labels))
            bar = tqdm(range(per_pass), desc=f"{side}x{side}, pass {number + 1}/{passes}", mininterval=2)
            total = 0.0
            for step in bar:
                chosen = order[step * BATCH : (step + 1) * BATCH]
                batch = augment(inputs[chosen], side)
                loss = loss_of(net(batch), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
                averaged.update_parameters(net)
                total += loss.item()
                bar.set_postfix(loss=f"{total / (step + 1):.3f}")
    # The averaged weights get statistics of their own, measured at the size that is served.
    with torch.no_grad():
        update_bn((augment(part, SIZE) for part in inputs.split(BATCH)), averaged)
    return averaged.module.eval().to(memory_format=torch.contiguous_format)


def bfloat16_values(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round float32 values to the nearest bfloat16, ties to even, still as float32.

    The low half of every weight is then zero, so that zip and git store the file in about half the bytes.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


class Graph:
    """Collects the nodes and weights of an ONNX graph for MobileNetV2's few kinds of layers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, tensor: Any) -> str:
        values = bfloat16_values(np.asarray(tensor.detach(), dtype=np.float32))
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def block(self, name: str, block: Any, source: str) -> str:
        """Add one block of the network (in evaluation mode) that reads `source`; return its output's name."""
        result = source
        # InvertedResidual keeps its layers in `conv`; the first and the last block are their layers.
        modules = getattr(block, "conv", block).named_modules()
        layers = [(path, module) for path, module in modules if not list(module.children())]
        for index, (path, layer) in enumerate(layers):
            if isinstance(layer, nn.Conv2d):
                # Each convolution is followed by its batch norm, which vanishes into the weights.
                folded = fuse_conv_bn_eval(layer, layers[index + 1][1])
                result = self.convolution(f"{name}.{path}", folded, result)
            elif isinstance(layer, nn.ReLU6):
                result = self.node("Clip", f"{name}.{path}", [result, "relu6.min", "relu6.max"])
            elif not isinstance(layer, nn.BatchNorm2d):
                raise TypeError(f"no ONNX form is written here for {type(layer).__name__} in {name}")
        if getattr(block, "use_res_connect", False):
            result = self.node("Add", f"{name}.add", [source, result])
        return result

    def convolution(self, name: str, layer: Any, source: str) -> str:
        weights = [self.weight(f"{name}.weight", layer.weight), self.weight(f"{name}.bias", layer.bias)]
        pads = layer.padding * 2
        sizes = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": pads}
        return self.node("Conv", name, [source, *weights], group=layer.groups, **sizes)


def to_onnx(net: Any) -> bytes:
    """Write the network as one ONNX file: input [batch, 3, 224, 224], logits [batch, 10], no batch norms.

    The graph is built here by hand, so equal weights give equal bytes and no path or stack trace gets in.
    """
    graph = Graph()
    graph.weight("relu6.min", torch.tensor(0.0))
    graph.weight("relu6.max", torch.tensor(6.0))
    result = "input"
    for index, block in enumerate(net.features):
        result = graph.block(f"features.{index}", block, result)
    flat = graph.node("Flatten", "flatten", [graph.node("GlobalAveragePool", "pool", [result])])
    linear = net.classifier[1]
    weights = [graph.weight("classifier.weight", linear.weight), graph.weight("classifier.bias", linear.bias)]
    graph.node("Gemm", "logits", [flat, *weights], transB=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "mobilenet_v2_digits",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
            graph.weights,
        ),
        producer_name="models/train_digits.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def install(content: bytes) -> None:
    """Put the model into its folder, and its size and checksum into model.toml."""
    replace(FOLDER / "model.onnx", content)
    toml = (FOLDER / "model.toml").read_text()
    toml = re.sub(r"(?m)^bytes = .*$", f"bytes = {len(content)}", toml)
    toml = re.sub(r"(?m)^sha256 = .*$", f'sha256 = "{hashlib.sha256(content).hexdigest()}"', toml)
    replace(FOLDER / "model.toml", toml.encode())


def replace(path: Path, content: bytes) -> None:
    """Write a file in one step, so that a reader never sees half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def accuracy(content: bytes) -> tuple[int, int]:
    """Return how many held-out pictures ONNX Runtime reads rightly with this model, and of how many."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    pngs, labels = digits_data.held_out()
    right = 0
    for png, label in zip(tqdm(pngs, desc="held-out pictures"), labels, strict=True):
        [logits] = session.run(["logits"], {"input": serving_input(png)[None]})
        right += int(np.argmax(logits)) == label
    return right, len(labels)


def main() -> None:
    content = to_onnx(train())
    right, total = accuracy(content)
    install(content)
    print(f"{right} of {total} held-out pictures right ({100 * right / total:.2f} %), {len(content)} bytes")


if __name__ == "__main__":
    main()
