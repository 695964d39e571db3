"""What keeps a model from being served, in one sentence with the mend, instead of ONNX Runtime's own words."""

from __future__ import annotations

import re

from models.manifest import ManifestError


class AddError(ManifestError):
    """A file that cannot be added; the message says what was found and how to mend it."""


# A pattern of ONNX Runtime's message, and what to say of it.
_KNOWN = (
    (
        r"[Ff]atal error: (?:(?P<domain>[\w.]+):)?(?P<op>\w+)\(.*is not a registered function",
        (
            "its operator {op} of the domain {domain!r} is not ONNX Runtime's own; export the model without it, and do "
            "its work before the request or in processing.py"
        ),
    ),
    (
        r"No opset import for domain '(?P<domain>[^']+)'",
        "it names no version of the operators' domain {domain!r}; export it anew with that opset",
    ),
    (
        r"Failed to construct locale with name:(?P<name>[\w.@-]+)",
        (
            "its StringNormalizer wants the locale {name}, which is not installed; set the operator's attribute locale "
            "to 'C.UTF-8', which every Linux has, or install that locale wherever the model runs"
        ),
    ),
    (
        r"Opset (?P<opset>\d+) is under development.*till opset (?P<last>\d+)",
        "its opset is {opset}, and this ONNX Runtime knows {last} at most; export it with opset {last} or lower",
    ),
    (
        r"Unsupported model IR version: (?P<found>\d+), max supported IR version: (?P<last>\d+)",
        "its IR version is {found}, and this ONNX Runtime knows {last} at most; export it with an older onnx package",
    ),
    (
        r"Could not find an implementation for (?P<op>\w+)\((?P<version>\d+)\)",
        (
            "ONNX Runtime has no CPU implementation of its operator {op} (opset {version}) for these datatypes; export "
            "it with another opset, or in FP32"
        ),
    ),
    (
        r"ONNX element type (?P<number>\d+) has no counterpart",
        (
            "an input or output has the ONNX element type {number}, which the Open Inference Protocol does not have; "
            "cast it to FP32 in the graph"
        ),
    ),
    (
        r"(?P<side>input|output) '(?P<name>[^']*)' is not a tensor",
        "its {side} {name!r} is a sequence or a map, which no request can carry; export it with tensors only",
    ),
    (r"Protobuf parsing failed", "it is damaged; get the whole file again"),
)


def explained(message: str) -> str:
    """ONNX Runtime's message as a sentence; an unknown one as its first line."""
    for pattern, sentence in _KNOWN:
        if found := re.search(pattern, message, re.DOTALL):
            return sentence.format(**{name: value or "ai.onnx" for name, value in found.groupdict().items()})
    # Its own number and name of the error, and the path of a copy that nobody knows.
    message = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .+? failed: ?", "", message.strip())
    lines = [line for line in message.splitlines() if line.strip()]
    return f"ONNX Runtime refuses it: {lines[0].strip() if lines else 'without a reason'}"
