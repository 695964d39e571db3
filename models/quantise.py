"""`--int8`: a model in 8-bit integers, made with pictures, and what that costs on pictures that are held out.

Activations are unsigned, weights signed with a scale for each output channel (QDQ, U8S8): what VNNI multiplies.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from function.engine import golden
from function.engine.artifact import GRAPH, MismatchError, optimise_level, read_record
from function.engine.session import OPTIMISE_ALL, Session
from function.native.cpu import INT8, flags, has_vnni
from models import build_artifact, pictures, raw
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from function.tensor import Tensor
    from models.manifest import Manifest
    from models.pictures import Pictures

_QUANTISED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger"}


def is_quantised(model: Manifest) -> bool:
    """Whether the raw graph has integers of its own, of quantisation-aware training, say."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(model.path, load_external_data=False).graph
    except (OSError, DecodeError):
        return False  # `raw.answer` says what is wrong and what to do
    return any(node.op_type in _QUANTISED for node in graph.node)


def check_cpu() -> None:
    """ManifestError on a CPU without VNNI: its sums of products saturate, so nothing it measures would be true."""
    if not has_vnni(flags()):
        raise ManifestError(
            "--int8 needs a CPU with AVX512-VNNI or AVX-VNNI, on which the loss is measured; this one has neither: "
            "prepare on such a machine, or without --int8"
        )


def build(model: Manifest, folder: Path, temporary: Path, data: Pictures) -> dict[str, Any]:
    """Writes the artifact into `folder`; returns what was measured, as artifact.json has it.

    ManifestError when more is lost than [int8] allowed_loss of model.toml.
    """
    quantised = temporary / "int8.onnx"
    try:
        _quantise(model, quantised, pictures.tensors(model, data.calibration))
        build_artifact.build(quantised, folder, INT8)
    except ManifestError:
        raise
    except Exception as error:  # onnxruntime's tools raise what they like
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise ManifestError(f"{model.name} cannot be quantised: {reason}") from error
    found = compare(model, Session(str(folder / GRAPH), optimise=optimise_level(INT8), threads=1), data)
    if found["loss"] > model.int8.allowed_loss:
        raise ManifestError(
            f"{model.name} in int8: {said(found)}; more than is allowed. Calibrate with other pictures, or allow more "
            f"under [int8] in {model.folder / 'model.toml'}"
        )
    return found


def answer(model: Manifest, folder: Path) -> dict[str, list[float]]:
    """The artifact's own answer to the golden input: the recorded one, as FP32's differs by more than rounding."""
    session = Session(str(folder / GRAPH), optimise=optimise_level(INT8), threads=1)
    return golden.answer(session.run(golden.inputs(session.inputs, example=raw.examples(model))))


def recorded(model: Manifest) -> str:
    """What was measured when the model was prepared with --int8, in words; empty without such an artifact."""
    with suppress(MismatchError, KeyError):
        return said(read_record(str(model.prepared / INT8))["int8"])
    return ""


def said(found: dict[str, Any]) -> str:
    """What was measured, in words."""
    count, same = found["held_out_pictures"], f"the class of FP32 for {found['top1_agreement']:.2f} %"
    if found["accuracy"] is not None:
        same = f"accuracy {found['accuracy']:.2f} % (FP32 {found['accuracy_fp32']:.2f} %), {same}"
    return (
        f"{same} of {count} held-out pictures, logits' correlation {found['logits_correlation']:.4f}; "
        f"loss {found['loss']:.2f} points, {found['allowed_loss']:g} allowed"
    )


class _Reader:
    """What onnxruntime asks for inputs."""

    def __init__(self, name: str, inputs: Iterator[Tensor]) -> None:
        self._inputs = ({name: _array(tensor)} for tensor in inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._inputs, None)


def _quantise(model: Manifest, target: Path, inputs: Iterator[Tensor]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    assert model.image is not None  # noqa: S101  (`pictures.find` refuses)
    fused = target.with_name("fused.onnx")
    quant_pre_process(str(model.path), str(fused), skip_symbolic_shape=True)
    quantize_static(
        str(fused),
        str(target),
        _Reader(model.image.input, inputs),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )


def compare(model: Manifest, session: Session, data: Pictures) -> dict[str, Any]:
    """What `session` loses on the held-out pictures beside the raw model in FP32, as artifact.json has it."""
    assert model.image is not None  # noqa: S101
    exact = Session(str(model.path), optimise=OPTIMISE_ALL, threads=1)
    wanted: list[NDArray[np.float32]] = []
    got: list[NDArray[np.float32]] = []
    for tensor in pictures.tensors(model, data.held_out):
        for logits, each in ((wanted, exact), (got, session)):
            logits.append(_array(each.run({model.image.input: tensor})[model.image.output]).ravel())
    fp32, int8 = np.array(wanted), np.array(got)
    classes, found = fp32.argmax(1), int8.argmax(1)
    agreement = _percent(classes == found)
    accuracy = accuracy_fp32 = None
    if data.labels is not None:
        labels = np.array(data.labels)
        accuracy, accuracy_fp32 = _percent(found == labels), _percent(classes == labels)
    return {
        "pictures": data.source,
        "calibration_pictures": len(data.calibration),
        "held_out_pictures": len(data.held_out),
        "accuracy": accuracy,
        "accuracy_fp32": accuracy_fp32,
        "top1_agreement": agreement,
        "logits_correlation": round(float(np.corrcoef(fp32.ravel(), int8.ravel())[0, 1]), 6),
        "loss": round(100 - agreement if accuracy is None or accuracy_fp32 is None else accuracy_fp32 - accuracy, 3),
        "allowed_loss": model.int8.allowed_loss,
    }


def _percent(right: NDArray[np.bool_]) -> float:
    return round(float(right.mean()) * 100, 3)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.frombuffer(bytes(tensor.data), np.float32).reshape(tensor.shape)  # type: ignore[arg-type]  # not BYTES
