"""One artifact for the CPU this process runs on; run by `models.prepare`, for other CPUs under qemu-user.

    python -m models.build_artifact RAW.onnx FOLDER FAMILY GOLDEN.json [--linked]

ORT writes the optimised graph and, beside it, the weights in one file that it maps into memory when it loads it:
`session.optimized_model_external_initializers_file_name`, onnxruntime_session_options_config_keys.h.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from function.engine import golden
from function.engine.artifact import GRAPH, PORTABLE, optimise_level
from function.engine.session import Session
from function.native import cpu

WEIGHTS = "weights.bin"
SMALLEST_EXTERNAL = 1024  # bytes; smaller weights stay in the graph, where they cost no page of their own


def build(raw: Path, folder: Path, family: str) -> None:
    """Writes GRAPH and WEIGHTS of `family` into `folder`; SystemExit when this CPU is of another family."""
    import onnxruntime

    here = cpu.family(cpu.flags())
    if family not in (PORTABLE, here) and not (family == cpu.INT8 and cpu.has_vnni(cpu.flags())):
        raise SystemExit(f"the CPU here is of the family {here}, not {family}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the warning about hardware-specific graphs is what the artifact's guard is for
    options.intra_op_num_threads = 1
    # EXTENDED holds no layout of any CPU and is right everywhere; ALL adds the NCHWc layout of this one.
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if family == PORTABLE else levels.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / GRAPH)
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", WEIGHTS),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(SMALLEST_EXTERNAL)),
    ):
        options.add_session_config_entry(key, value)
    # What stays FP32 in a graph of integers has no layout of a CPU: VNNI is found in more than one family.
    off = {"disabled_optimizers": ["NchwcTransformer"]} if family == cpu.INT8 else {}
    onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"], **off)


def check(folder: Path, family: str, expected: dict[str, Any]) -> None:
    """Runs the golden input as `function/` would; SystemExit when the answer is not the raw model's.

    `expected`: `outputs`, the raw model's answer, and `example`, the sizes of the input.
    """
    session = Session(str(folder / GRAPH), optimise=optimise_level(family), threads=1)
    got = golden.answer(session.run(golden.inputs(session.inputs, example=expected["example"])))
    if difference := golden.difference(expected["outputs"], got):
        raise SystemExit(f"the {family} artifact does not answer as the raw model does: {difference}")


if __name__ == "__main__":
    if "--linked" not in sys.argv:  # else the graph is there already, with weights too large to write again
        build(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    check(Path(sys.argv[2]), sys.argv[3], json.loads(Path(sys.argv[4]).read_text()))
