"""`zeroserve add` of models that take missing values: null is taken without a word in model.toml, FP64 or FP32."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from infra import answers, requests
from models.adding import missing, surgery
from models.adding.add import Added, Wishes, add
from tests import support

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


def predicted(found: Added, instances: list[Any]) -> list[Any]:
    call = requests.call(found.model, json.dumps({"instances": instances}).encode(), "here")
    status, body = answers.in_process(found.model, call)
    assert status == 200, body
    predictions: list[Any] = json.loads(body)["predictions"]
    return predictions


def gapped() -> tuple[Any, Any]:
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(200, 3))
    wanted = np.where(rows.sum(axis=1) > 0, "yes", "no")
    rows[generator.random(rows.shape) < 0.2] = np.nan
    return rows, wanted


@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
@pytest.mark.parametrize("columns", [False, True])
def test_a_pipeline_with_an_imputer(datatype: str, columns: bool, tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows, wanted = gapped()
    kind = DoubleTensorType if datatype == "FP64" else FloatTensorType
    filled = ColumnTransformer([(name, SimpleImputer(), [index]) for index, name in enumerate("abc")])
    fitted = make_pipeline(filled if columns else SimpleImputer(), LogisticRegression()).fit(rows, wanted)
    taken = [(name, kind([None, 1])) for name in "abc"] if columns else [("X", kind([None, 3]))]
    path = support.save(to_onnx(fitted, initial_types=taken), tmp_path / "gaps.onnx")  # ZipMap and all
    found = add(path, tmp_path / "repository", Wishes())
    assert {spec.datatype for spec in found.model.inputs} == {datatype}
    assert found.model.missing == "nan"
    assert "null stands for a number that is missing (NaN), which its Imputer takes" in found.lines
    assert any("Imputer over FP64" in line for line in found.lines) == (datatype == "FP64")

    asked = [[None if math.isnan(value) else value for value in row] for row in rows[:20].tolist()]
    named = [dict(zip("abc", row, strict=True)) for row in asked] if columns else asked
    got = predicted(found, named)
    for row, expected in zip(got, fitted.predict_proba(rows[:20]).tolist(), strict=True):
        scores = row["output_probability"]  # by class where rows have columns
        assert (list(scores.values()) if columns else scores) == pytest.approx(expected, abs=1e-6)


def trees(tracks: list[int]) -> ModelProto:
    """One FP64 column: x <= 0.5 gives 1, else 2; `tracks` says where NaN goes."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=tracks,
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    values = [helper.make_tensor_value_info("x", DOUBLE, ["n", 1]), helper.make_tensor_value_info("y", FLOAT, ["n", 1])]
    graph = helper.make_graph([node], "trees", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_trees_that_know_where_nan_goes(tmp_path: Path) -> None:
    found = add(support.save(trees([1, 0, 0]), tmp_path / "knows.onnx"), tmp_path / "repository", Wishes())
    assert found.model.missing == "nan"
    assert predicted(found, [[0.9], [None], [0.1]]) == [[2.0], [1.0], [1.0]]
    other = add(support.save(trees([0, 0, 0]), tmp_path / "not.onnx"), tmp_path / "repository", Wishes())
    assert other.model.missing == ""  # null stays a 400: nobody said that it means anything


def imputer(mark: float, kind: int = DOUBLE) -> ModelProto:
    node = helper.make_node(
        "Imputer", ["x"], ["y"], domain="ai.onnx.ml", imputed_value_floats=[7.0], replaced_value_float=mark
    )
    values = [helper.make_tensor_value_info(name, kind, ["n", 2]) for name in ("x", "y")]
    graph = helper.make_graph([node], "filled", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_an_imputer_of_a_number_that_is_not_nan(tmp_path: Path) -> None:
    found = add(support.save(imputer(-1.0), tmp_path / "marked.onnx"), tmp_path / "repository", Wishes())
    assert found.model.missing == ""
    assert predicted(found, [[-1.0, 2.0]]) == [[7.0, 2.0]]
    assert missing.taken_by(imputer(math.nan).graph) == "Imputer"


@pytest.mark.parametrize("kind", [FLOAT, TensorProto.INT64])
def test_an_imputer_that_onnxruntime_has_stays(kind: int) -> None:
    model = imputer(math.nan, kind)
    assert surgery.operate(model) == ([], [])
    assert [node.op_type for node in model.graph.node] == ["Imputer"]


def test_a_graph_that_is_refused_is_called_by_the_name_of_its_file(tmp_path: Path) -> None:
    model = imputer(math.nan)
    model.opset_import[0].version = 8  # neither IsNaN nor Where
    path = support.save(model, tmp_path / "theirs.onnx")
    with pytest.raises(Exception, match=r"theirs\.onnx cannot be served") as caught:
        add(path, tmp_path / "repository", Wishes())
    assert ".add-" not in str(caught.value)
    assert "model.onnx" not in str(caught.value)
    (tmp_path / "labels.txt").write_text("a\nb\n")
    path = support.save(support.classifier(), tmp_path / "pictures.onnx")
    with pytest.raises(Exception, match=r"pictures\.onnx: 2 labels for ") as caught:
        add(path, tmp_path / "repository", Wishes(image="imagenet", labels=tmp_path / "labels.txt"))
    assert ".add-" not in str(caught.value)
