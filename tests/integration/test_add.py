"""`zeroserve add`: from an ONNX file to a model that answers as onnxruntime does, or one line that says why not."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import manifest
from models.adding import columns, compose, sizes, surgery, words
from models.adding.add import Added, Wishes, add
from models.adding.words import AddError
from tests import support, tiny_text
from tests.contract import made_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx import ModelProto

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def added(folder: Path, model: ModelProto, **wishes: Any) -> Added:
    path = support.save(model, folder / "made.onnx")
    return add(path, folder / "repository", Wishes(**wishes))


def refusal(folder: Path, path: Path, **wishes: Any) -> str:
    """The one line; nothing is left behind."""
    with pytest.raises(manifest.ManifestError) as caught:
        add(path, folder / "repository", Wishes(**wishes))
    assert not (folder / "repository").exists()
    message = str(caught.value)
    assert "\n" not in message.strip()
    return message


def multiples_of(step: int) -> ModelProto:
    """`x` [n, 3, h, w] -> its blocks' sums: sides have to be multiples of `step`."""
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["blocks"], blocksize=step),
        helper.make_node("ReduceSum", ["blocks"], ["y"], keepdims=0),
    ]
    return support.make_model(nodes, [("x", FLOAT, ["n", 3, "h", "w"])], [("y", FLOAT, [])])


def stateful() -> ModelProto:
    """A state that goes in and out, a scalar, an `If`, and a batch that two inputs share without saying so."""
    branches = {}
    for name, factor in (("then_branch", 2.0), ("else_branch", 3.0)):
        constant = numpy_helper.from_array(np.array(factor, np.float32), f"{name}.factor")
        branches[name] = helper.make_graph(
            [helper.make_node("Mul", ["frame", f"{name}.factor"], [f"{name}.out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}.out", FLOAT, None)],
            [constant],
        )
    nodes = [
        helper.make_node("Equal", ["rate", "high"], ["is_high"]),
        helper.make_node("If", ["is_high"], ["scaled"], **branches),
        helper.make_node("Gather", ["state", "one"], ["second"], axis=0),
        helper.make_node("Reshape", ["scaled", "fours"], ["blocks"]),
        helper.make_node("ReduceSum", ["blocks", "axis"], ["last"], keepdims=0),
        helper.make_node("Concat", ["last", "second"], ["next"], axis=1),
        helper.make_node("Neg", ["state"], ["after"]),
    ]
    return support.make_model(
        nodes,
        [("frame", FLOAT, ["a", "b"]), ("state", FLOAT, [2, "c", 4]), ("rate", INT64, [])],
        [("next", FLOAT, ["d", 8]), ("after", FLOAT, [2, "f", 4])],
        {
            "high": np.array(16000, np.int64),
            "one": np.array(1, np.int64),
            "fours": np.array([0, -1, 4], np.int64),
            "axis": np.array([1], np.int64),
        },
    )


def pipeline(*, known_only: bool = True) -> ModelProto:
    """What skl2onnx makes of a ColumnTransformer with texts and numbers, ending in ZipMap."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    generator = np.random.default_rng(0)
    rows = np.empty((60, 3), object)
    rows[:, 0], rows[:, 1] = generator.normal(40, 10, 60), generator.normal(3e4, 1e3, 60)
    rows[:, 2] = generator.choice(["Berlin", "Paris", "Rom"], 60)
    encoder = OneHotEncoder(handle_unknown="error" if known_only else "ignore")
    transformer = ColumnTransformer([("numbers", StandardScaler(), [0, 1]), ("texts", encoder, [2])])
    fitted = Pipeline([("columns", transformer), ("model", LogisticRegression())])
    fitted.fit(rows, generator.choice(["no", "yes"], 60))
    kinds = [("age", FloatTensorType([None, 1])), ("income", FloatTensorType([None, 1]))]
    model: ModelProto = to_onnx(fitted, initial_types=[*kinds, ("city", StringTensorType([None, 1]))])
    return model


def example_of(found: Added) -> Any:
    return json.loads((found.model.folder / "example.json").read_text())


def test_a_model_is_added_with_nothing_to_write(tmp_path: Path) -> None:
    found = added(tmp_path, support.classifier(), name="tiny")
    model = found.model
    assert (model.name, model.folder) == ("tiny", tmp_path / "repository" / "tiny")
    assert found.difference < 1e-6
    assert found.compared == 4
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["tiny"]
    assert model.example["input"].shape == [1, 3, support.SIDE, support.SIDE]
    assert (tmp_path / "made.onnx").read_bytes() == model.path.read_bytes()
    (sent,) = example_of(found)["inputs"]
    assert (sent["name"], sent["datatype"], len(sent["data"])) == ("input", "FP32", 3 * support.SIDE**2)
    with pytest.raises(AddError, match="is there already; take another --name, or run: zeroserve remove tiny"):
        added(tmp_path, support.classifier(), name="tiny")


def test_sizes_that_have_to_be_multiples(tmp_path: Path) -> None:
    found = added(tmp_path, multiples_of(32))
    assert found.model.example["x"].shape == [1, 3, 32, 32]
    told = added(tmp_path, multiples_of(32), name="told", sizes={"x": [1, 3, 64, 96]})
    assert told.model.example["x"].shape == [1, 3, 64, 96]


def test_state_a_scalar_and_branches(tmp_path: Path) -> None:
    found = added(tmp_path, stateful())
    assert {name: each.shape for name, each in found.model.example.items()} == {
        "frame": [1, 8],
        "state": [2, 1, 4],
        "rate": [],
    }
    np.savez(
        tmp_path / "call.npz",
        frame=np.ones((1, 16), np.float32),
        state=np.zeros((2, 1, 4), np.float32),
        rate=np.array(16000),
    )
    given = added(tmp_path, stateful(), name="given", example=tmp_path / "call.npz")
    assert (given.model.example["rate"].shape, given.model.example["rate"].value) == ([], 16000)
    assert [each["data"] for each in example_of(given)["inputs"]][2] == [16000]


def test_a_pipeline_with_texts_becomes_a_table(tmp_path: Path) -> None:
    found = added(tmp_path, pipeline())
    assert "the output 'output_probability' was made by ZipMap and is now a tensor" in found.lines[0]
    assert found.model.labels == ["no", "yes"]
    assert found.model.table is not None
    known = {column.name: column.categories for column in found.model.table.columns}
    assert known == {"age": [], "income": [], "city": ["Berlin", "Paris", "Rom"]}
    assert example_of(found) == {"instances": [{"age": 0.5, "income": 0.5, "city": "Berlin"}]}
    assert [spec.name for spec in found.model.outputs] == ["output_label", "output_probability"]
    anything = added(tmp_path, pipeline(known_only=False), name="anything")
    assert anything.model.table is not None
    assert [column.categories for column in anything.model.table.columns] == [[], [], []]


def test_trees_over_fp64(tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType
    from sklearn.tree import DecisionTreeRegressor

    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(80, 5))
    model = to_onnx(
        DecisionTreeRegressor(max_depth=4, random_state=0).fit(inputs, inputs.sum(axis=1)),
        initial_types=[("X", DoubleTensorType([None, 5]))],
    )
    (tmp_path / "names.txt").write_text("a\nb,FP64,0.5\nc\nd\ne\n")
    found = added(tmp_path, model, columns=tmp_path / "names.txt")
    assert found.model.inputs[0].datatype == "FP64"
    assert found.model.table is not None
    assert [(each.name, each.default) for each in found.model.table.columns][:2] == [("a", None), ("b", 0.5)]
    assert found.difference == 0


def test_sequences_become_tensors(tmp_path: Path) -> None:
    split = support.make_model(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", FLOAT, ["n", 2])], [("y", FLOAT, ["n", 2])]
    )
    graph = split.graph
    graph.node.append(helper.make_node("SequenceConstruct", ["y", "x"], ["both"]))
    tensor = helper.make_tensor_type_proto(FLOAT, ["n", 2])
    graph.output.append(helper.make_value_info("both", helper.make_sequence_type_proto(tensor)))
    found = added(tmp_path, split)
    assert [spec.name for spec in found.model.outputs] == ["y", "both_0", "both_1"]


def test_pictures(tmp_path: Path) -> None:
    (tmp_path / "shades.txt").write_text("r\ng\nb\n")
    found = added(tmp_path, made_models.shades(), image="imagenet", labels=tmp_path / "shades.txt")
    image = found.model.image
    assert image is not None
    assert (image.input, image.output, image.layout, image.size) == ("input", "scores", "NCHW", [16, 16])
    assert (image.resize, image.resize_to, image.mean[0]) == ("shorter_side", 18, 0.485)
    assert found.model.labels == ["r", "g", "b"]


def text_of(found: Added) -> dict[str, Any]:
    assert found.model.text is not None
    assert (found.model.folder / "tokenizer.json").is_file()
    return asdict(found.model.text)


def test_texts(tmp_path: Path) -> None:
    tokenizer = tiny_text.tokenizer()
    tokenizer.enable_truncation(48)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = added(tmp_path, tiny_text.encoder(), name="phrases")
    text = text_of(found)
    assert (text["task"], text["pooling"], text["normalise"]) == ("embedding", "mean", True)
    assert (text["max_length"], text["truncate"], text["output"]) == (48, False, "last_hidden_state")
    assert example_of(found)["model"] == "phrases"
    assert "takes texts of at most 48 tokens" in found.lines[0]
    classes = added(tmp_path, tiny_text.encoder(classes=True), name="moods")
    assert text_of(classes)["task"] == "classification"
    assert "instances" in example_of(classes)
    assert added(tmp_path, support.classifier(), name="none").model.text is None  # no token inputs: nothing is assumed


def test_texts_that_the_graph_pools_itself(tmp_path: Path) -> None:
    model = tiny_text.encoder(classes=True)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "sentence_embedding"
    (tmp_path / "other").mkdir()
    tiny_text.tokenizer().save(str(tmp_path / "other" / "tokenizer.json"))
    (tmp_path / "other" / "tokenizer_config.json").write_text('{"model_max_length": 64}')
    text = text_of(added(tmp_path, model, tokenizer=tmp_path / "other" / "tokenizer.json"))
    assert (text["task"], text["pooling"], text["normalise"], text["max_length"]) == ("embedding", "none", False, 64)
    assert added(tmp_path, model, name="tensors").model.text is None


@pytest.mark.parametrize(
    ("content", "make", "wishes", "expected"),
    [
        ("{", tiny_text.encoder, {}, "no tokenizer that can be used"),
        ("{}", tiny_text.encoder, {}, "no tokenizer that can be used"),
        ("", tiny_text.encoder, {}, "tokenizer.json is not there"),
        ("{}", support.classifier, {}, "--tokenizer needs the inputs input_ids and attention_mask"),
        ("{}", tiny_text.encoder, {"image": "imagenet"}, "exclude each other"),
    ],
)
def test_tokenizers_that_do_not_fit(
    tmp_path: Path, content: str, make: Callable[[], ModelProto], wishes: dict[str, Any], expected: str
) -> None:
    if content:
        (tmp_path / "tokenizer.json").write_text(content)
    path = support.save(make(), tmp_path / "made.onnx")
    assert expected in refusal(tmp_path, path, tokenizer=tmp_path / "tokenizer.json", **wishes)


def with_external(folder: Path, *, name: str = "weights.bin", cut: int = 0) -> Path:
    """A graph whose weights lie in a file beside it."""
    folder.mkdir(exist_ok=True)
    weights = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)
    model = support.make_model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", FLOAT, ["n", 64])],
        [("y", FLOAT, ["n", 64])],
        {"w": weights},
    )
    onnx.save(model, folder / "outside.onnx", save_as_external_data=True, location=name, size_threshold=0)
    if cut:
        (folder / name).write_bytes((folder / name).read_bytes()[:-cut])
    return folder / "outside.onnx"


@pytest.mark.parametrize("large", [False, True])
def test_weights_beside_the_graph_come_along(tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.prepare.LARGE", 1 if large else 1 << 30)
    found = add(with_external(tmp_path / "from"), tmp_path / "repository", Wishes())
    (external,) = found.model.external
    assert (external.name, external.bytes) == ("weights.bin", 64 * 64 * 4)
    assert found.difference < 1e-6
    portable = found.model.prepared / "portable"
    beside = portable / "weights.bin"  # ORT's own file has that name too
    assert (beside.samefile(found.model.folder / "weights.bin")) == large
    assert (sorted(path.name for path in found.model.prepared.glob("*/")) == ["portable"]) == large
    (found.model.folder / "weights.bin").unlink()
    (found.model.folder / "weights.bin").write_bytes(b"other")
    with pytest.raises(manifest.ManifestError, match=r"weights.bin has 5 bytes .* model.toml says 16384"):
        support.prepare_natively(found.model, force=True)


def custom() -> ModelProto:
    node = helper.make_node("BertTokenizer", ["x"], ["y"], domain="ai.onnx.contrib")
    graph = helper.make_graph(
        [node],
        "made",
        [helper.make_tensor_value_info("x", STRING, ["n"])],
        [helper.make_tensor_value_info("y", INT64, ["n"])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.contrib", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def of_opset(opset: int, ir_version: int = 9) -> ModelProto:
    model = support.doubling()
    model.opset_import[0].version, model.ir_version = opset, ir_version
    return model


def with_map_input() -> ModelProto:
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"])
    value = helper.make_tensor_value_info("y", FLOAT, None)
    kind = onnx.TypeProto()
    kind.map_type.key_type = STRING
    kind.map_type.value_type.CopyFrom(helper.make_tensor_type_proto(FLOAT, []))
    graph = helper.make_graph([node], "made", [helper.make_value_info("x", kind)], [value])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def of_one_size() -> ModelProto:
    return support.make_model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [("x", FLOAT, ["n"])],
        [("y", FLOAT, [7, 11])],
        {"shape": np.array([7, 11])},
    )


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (custom, "its operator BertTokenizer of the domain 'ai.onnx.contrib' is not ONNX Runtime's own; export"),
        (lambda: of_opset(99), "its opset is 99, and this ONNX Runtime knows "),
        (lambda: of_opset(18, 99), "its IR version is 99, and this ONNX Runtime knows "),
        (with_map_input, "its input 'x' is a sequence or a map, which no request can carry; export it with tensors"),
        (of_one_size, "say what fits: --size INPUT=1x3x640x640, or --example FILE"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, make: Callable[[], ModelProto], expected: str) -> None:
    assert expected in refusal(tmp_path, support.save(make(), tmp_path / "made.onnx"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"something else entirely", "is not an ONNX file; export the model to ONNX first"),
        (b"", "is not an ONNX file"),
        (pickle.dumps({"a": 1}), "is not an ONNX file but a pickle; export the model first: skl2onnx.to_onnx"),
        (b"PK\x03\x04rest", "is not an ONNX file but a zip, as PyTorch and Keras write it"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not the file itself; run: git lfs pull"),
        (b"<!DOCTYPE html>", "a web page"),
        (b'{"learner": 1}', "export the model with onnxmltools"),
    ],
)
def test_what_is_no_onnx_file(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    assert expected in refusal(tmp_path, path)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_file_that_is_cut_short(tmp_path: Path, share: float) -> None:
    content = support.classifier().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    message = refusal(tmp_path, path)
    assert "bytes are cut short or damaged; get the file again" in message


def test_missing_files(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path, tmp_path / "nothing.onnx")
    assert "is a folder; name the .onnx file in it" in refusal(tmp_path, tmp_path)
    path = with_external(tmp_path / "short", cut=100)
    assert "weights.bin is cut short: it has 16,284 bytes" in refusal(tmp_path, path)
    (path.parent / "weights.bin").unlink()
    assert "keeps weights in 'weights.bin', which is not beside it; put that file into" in refusal(tmp_path, path)


def test_weights_outside_of_the_folder(tmp_path: Path) -> None:
    path = with_external(tmp_path / "from")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../secret"
    (tmp_path / "secret").write_bytes(b"\0" * 64 * 64 * 4)
    support.save(model, path)
    assert "keeps weights in '../secret', outside of its folder" in refusal(tmp_path, path)


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"sizes": {"y": [1]}}, "--size names the input 'y'; the inputs are input"),
        ({"sizes": {"input": [1, 3]}}, "--size of 'input' is [1, 3], and the model takes [-1, 3, 16, 16]"),
        ({"image": "caffe"}, "--image is 'caffe'; one of imagenet, zero-one, minus-one-one is expected"),
        ({"name": "../up"}, "--name is '../up'; 1 to 63 printable characters without '/'"),
    ],
)
def test_wishes_that_do_not_fit(tmp_path: Path, wishes: dict[str, Any], expected: str) -> None:
    path = support.save(made_models.shades(), tmp_path / "made.onnx")
    assert expected in refusal(tmp_path, path, **wishes)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[1, 2]", "should be a JSON object"),
        ("{", "cannot be read: "),
        ('{"inputs": {"other": [1], "x": [2]}}', "has 'other', 'x'; the model's inputs are 'x'"),
        ('{"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [1]}]}', "is not of its shape"),
        ('{"instances": []}', "has no instances"),
        ('{"inputs": {"x": [[1, 2]]}}', "'x' has the shape [1, 2]; [-1] is taken"),
        ('{"inputs": {"x": ["a"]}}', "'x' is not FP32"),
    ],
)
def test_examples_that_do_not_fit(tmp_path: Path, content: str, expected: str) -> None:
    path = support.save(support.doubling(), tmp_path / "made.onnx")
    (tmp_path / "example.json").write_text(content)
    assert expected in refusal(tmp_path, path, example=tmp_path / "example.json")


@pytest.mark.parametrize("content", ['{"inputs": {"x": [1, 2, 3]}}', '{"x": [1, 2, 3]}', '{"instances": [1, 2, 3]}'])
def test_examples_in_each_form(tmp_path: Path, content: str) -> None:
    (tmp_path / "example.json").write_text(content)
    found = added(tmp_path, support.doubling(), example=tmp_path / "example.json")
    assert found.model.example["x"].shape == [3]
    document = example_of(found)
    assert document == json.loads(content) or document["inputs"][0]["data"] == [1, 2, 3]


def test_a_locale_that_every_linux_has() -> None:
    model = support.make_model(
        [helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER")],
        [("x", STRING, ["n"])],
        [("y", STRING, ["m"])],
    )
    (line,), _ = surgery.operate(model)
    assert "takes the locale C.UTF-8 instead of en_US" in line
    assert surgery.operate(model) == ([], [])
    said = words.explained("Failed to construct locale with name:en_US.UTF-8:locale::facet name not valid")
    assert "wants the locale en_US.UTF-8, which is not installed" in said


def test_toml_that_is_written_is_read_as_it_was() -> None:
    import tomllib

    document = {
        "name": 'a "quoted" \\ name\x7f\n',
        "number": 0.1,
        "flag": True,
        "rows": [{"a": 1, "inner": [{"b": "c"}]}, {"a": 2}],
        "example": {"with space": [1, 2], "x": {"shape": [], "value": 3}},
        "table": {"columns": [{"name": "age"}]},
    }
    text = compose.toml(document)
    assert tomllib.loads(text) == document
    assert "\n[table]\n" not in text


def test_transformerthat_are_named_in_one_line(tmp_path: Path) -> None:
    from function.tensor import Spec

    (tmp_path / "names.csv").write_text('age,income,"city"\n')
    specs = {"x": Spec("x", "FP32", (-1, 3))}
    rows = columns.from_file(tmp_path / "names.csv", specs, {})
    assert [row["name"] for row in rows] == ["age", "income", "city"]
    with pytest.raises(AddError, match="names 3 columns, and the input 'x' has the shape"):
        columns.from_file(tmp_path / "names.csv", {"x": Spec("x", "FP32", (-1, 4))}, {})


def test_dimensions_of_one_name_have_one_size() -> None:
    free = {("a", 0): "n", ("a", 1): "width", ("b", 1): "width"}
    for assignment in sizes._assignments(free, sizes.CANDIDATES):
        assert set(assignment) == {"n", "width"}
