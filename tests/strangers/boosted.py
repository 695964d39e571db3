"""LightGBM models over FP64 columns with gaps, and what LightGBM answers: python boosted.py FOLDER.

Run by an environment that has requirements/boosting.txt, in which nothing of this project is. Writes KIND.onnx and
KIND.json: `rows`, null where one is missing, and `expected`, for each the regressor's number or the classes' shares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import DoubleTensorType as ToolsDouble
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as converter
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

COLUMNS = 6


def write(folder: Path, kind: str, exported: Any, rows: Any, expected: Any) -> None:
    (folder / f"{kind}.onnx").write_bytes(exported.SerializeToString())
    asked = [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]
    (folder / f"{kind}.json").write_text(json.dumps({"rows": asked, "expected": expected.tolist()}))


def main(folder: Path) -> None:
    generator = np.random.default_rng(20261124)
    rows = generator.normal(size=(4000, COLUMNS)) * 10.0 ** np.arange(COLUMNS)
    wanted = (rows / 10.0 ** np.arange(COLUMNS)).sum(axis=1) + generator.normal(size=4000) / 4
    rows[generator.random(rows.shape) < 0.1] = np.nan
    asked = rows[-1000:]

    regressor = LGBMRegressor(n_estimators=100, verbose=-1).fit(rows[:3000], wanted[:3000])
    exported = convert_lightgbm(regressor, initial_types=[("rows", ToolsDouble([None, COLUMNS]))], target_opset=15)
    write(folder, "regressor", exported, asked, regressor.predict(asked))

    # onnxmltools alone refuses a classifier over FP64; within skl2onnx its converter does it. ZipMap, as by default.
    update_registered_converter(
        LGBMClassifier,
        "LightGbm",
        calculate_linear_classifier_output_shapes,
        converter,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
    )
    classes = np.digitize(wanted, [-1, 1])
    classifier = LGBMClassifier(n_estimators=100, verbose=-1).fit(rows[:3000], classes[:3000])
    exported = to_onnx(
        classifier,
        initial_types=[("rows", DoubleTensorType([None, COLUMNS]))],
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    write(folder, "classifier", exported, asked, classifier.predict_proba(asked))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
