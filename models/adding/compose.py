"""model.toml, written from what was found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from models.adding.words import AddError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from function.tensor import Spec

# What people call the ways of scaling pixels -> mean and std of values scaled to 0..1.
SCALINGS = {
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "zero-one": ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
    "minus-one-one": ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
}
SIDE = 224  # pixels, where neither the model nor anybody says


def toml(document: Mapping[str, Any]) -> str:
    """Plain values first, then a table for each mapping and each of a list of mappings."""
    plain = {k: v for k, v in document.items() if not isinstance(v, dict) and not _is_rows(v)}
    lines = [f"{_key(key)} = {value(each)}" for key, each in plain.items()]
    for key, each in document.items():
        for row in each if _is_rows(each) else [each] if isinstance(each, dict) else []:
            table = _table(key, row)
            header = f"[[{key}]]" if _is_rows(each) else f"[{key}]"
            lines += table if table and not table[0] else ["", header, *table]  # only rows: they name the table
    return "\n".join(lines).lstrip("\n") + "\n"


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    lines, rows = [], []
    for key, each in table.items():
        if _is_rows(each):
            for row in each:
                rows += ["", f"[[{name}.{key}]]", *_table(key, row)]
        else:
            lines.append(f"{_key(key)} = {value(each)}")
    return lines + rows


def _is_rows(each: object) -> bool:
    return isinstance(each, list) and bool(each) and all(isinstance(row, dict) for row in each)


def _key(key: str) -> str:
    return key if key.replace("_", "a").replace("-", "a").isalnum() and key.isascii() else _text(key)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def value(each: Any) -> str:
    """A value as TOML writes it inline."""
    if isinstance(each, str):
        return _text(each)
    if isinstance(each, bool):
        return str(each).lower()
    if isinstance(each, list):
        return "[" + ", ".join(map(value, each)) + "]"
    if isinstance(each, dict):
        return "{ " + ", ".join(f"{_key(key)} = {value(item)}" for key, item in each.items()) + " }"
    return repr(each)


def specs(rows: Iterable[Spec]) -> list[dict[str, Any]]:
    """[[inputs]] or [[outputs]]."""
    return [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in rows]


def image(
    scaling: str,
    inputs: Mapping[str, Spec],
    outputs: Mapping[str, Spec],
    shapes: Mapping[str, list[int]],
    softmaxed: Iterable[str],
) -> dict[str, Any]:
    """[image] for the only input that can be a picture; `shapes` are those that were given for open dimensions.

    AddError when there is no such input, or no FP32 output of classes.
    """
    if scaling not in SCALINGS:
        raise AddError(f"--image is {scaling!r}; one of {', '.join(SCALINGS)} is expected")
    found = [(spec, layout) for spec in inputs.values() if (layout := _layout(spec))]
    scores = [spec for spec in outputs.values() if spec.datatype == "FP32" and len(spec.shape) == 2]
    if len(found) != 1 or not scores:
        raise AddError(
            "--image needs one FP32 input of the shape [-1, 3, height, width] or [-1, height, width, 3], and an FP32 "
            f"output of the shape [-1, classes]; the model has {_listed(inputs)} -> {_listed(outputs)}"
        )
    spec, layout = found[0]
    sides = slice(2, 4) if layout == "NCHW" else slice(1, 3)
    open_sides = shapes.get(spec.name, [1, SIDE, SIDE, SIDE])[sides]
    size = [own if own > 0 else given for own, given in zip(spec.shape[sides], open_sides, strict=True)]
    mean, std = SCALINGS[scaling]
    rule: dict[str, Any] = {
        "input": spec.name,
        "output": scores[0].name,
        "activation": "none" if scores[0].name in softmaxed else "softmax",
        "size": size,
        "resize": "stretch",
        "filter": "bilinear",
        "mean": mean,
        "std": std,
        "layout": layout,
    }
    if scaling == "imagenet":  # as torchvision's and the Model Zoo's preprocessing does
        rule |= {"resize": "shorter_side", "resize_to": round(max(size) * 256 / 224)}
    return rule


def _layout(spec: Spec) -> str:
    if spec.datatype != "FP32" or len(spec.shape) != 4:
        return ""
    return "NCHW" if spec.shape[1] == 3 else "NHWC" if spec.shape[3] == 3 else ""


def _listed(tensors: Mapping[str, Spec]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in tensors.values())
