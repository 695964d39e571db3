"""[table], [text] and `missing` of model.toml: what is taken, and what is refused in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models import extras, manifest
from models.manifest import ManifestError
from tests import tiny_text
from tests.contract.entries.sent_models import CLASSES, EMBEDDING, PEOPLE, people, sums
from tests.support import write_folder

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto


def column(**fields: object) -> str:
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for name, value in fields.items()
    ]
    return "\n".join(["[[table.columns]]", *lines, ""])


def refusal(folder: Path, model: ModelProto, extra: str) -> str:
    with pytest.raises(ManifestError) as caught:
        write_folder(folder, model, extra)
    return str(caught.value)


def test_columns_go_to_their_inputs(tmp_path: Path) -> None:
    found = write_folder(tmp_path / "people", people(), PEOPLE)
    assert found.table
    assert [(each.name, each.input) for each in found.table.columns] == [
        ("job", "job"),
        ("age", "numbers"),
        ("member", "numbers"),
        ("visits", "numbers"),
    ]
    assert found.table.output == "shares"
    assert set(extras.tables(found)) == {"table"}
    assert extras.files(found) == {}


def test_a_model_without_these_has_nothing_of_them(tmp_path: Path) -> None:
    found = write_folder(tmp_path / "sums", sums())
    assert (extras.tables(found), extras.files(found)) == ({}, {})


A, B = column(name="a", datatype="FP32"), column(name="b", datatype="FP32")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[table]\n", "[table] needs columns, each under [[table.columns]]"),
        ("[table]\ncolumns = 5\n", "[table] needs columns"),
        ("[table]\nmore = 1\n" + A + B, "[table] unknown fields ['more']"),
        (A, "gives input 'x' 1 columns; its shape is [-1, 2]"),
        (A + A, "has a name twice: a, a"),
        (A + B.replace("FP32", "FP8"), "'b' has datatype 'FP8'; one of FP32, FP64, INT64, INT32, BOOL, BYTES"),
        (A + B.replace("FP32", "BYTES"), "'b' is BYTES, its input 'x' FP32"),
        (A + column(name="b", datatype="FP32", default="1"), "'b' has the default '1', which is no FP32"),
        (A + column(name="b", datatype="INT64", default=True), "'b' has the default True, which is no INT64"),
        (A + column(name="b", datatype="INT64", default=1.5), "'b' has the default 1.5, which is no INT64"),
        (A + column(name="b", datatype="FP32", categories=["x"]), "'b' has categories, which are for BYTES"),
        (A + column(name="b", datatype="BYTES", categories=["x"], default="y"), "'y', which is no category"),
        (A + B + column(name="c", datatype="FP32", input="z"), "names the inputs z, which the model has not"),
        ('[table]\noutput = "none"\n' + A + B, "[table] output is 'none'; the model gives x2, total"),
        ('[text]\ntokenizer = "tokenizer.json"\nmax_length = 5\ntask = "embedding"\n', "tokenizer.json is missing"),
        ("[processing]\n", "[processing] is there, and"),
    ],
)
def test_what_does_not_fit_a_matrix(tmp_path: Path, extra: str, words: str) -> None:
    assert words in refusal(tmp_path / "sums", sums(), extra)


def test_a_column_has_to_say_its_input_where_two_are_left(tmp_path: Path) -> None:
    assert "needs input: columns without one go into the one" in refusal(tmp_path / "people", people(), A)
    only = column(name="job", datatype="BYTES", input="job")
    assert "has no column for the input 'numbers'" in refusal(tmp_path / "people", people(), only)


@pytest.mark.parametrize("value", ["null", "NaN", "zero"])
def test_missing_is_nan_or_nothing(tmp_path: Path, value: str) -> None:
    write_folder(tmp_path / "sums", sums())
    path = tmp_path / "sums" / "model.toml"
    path.write_text(f'missing = "{value}"\n{path.read_text()}')
    with pytest.raises(ManifestError, match='"nan" is expected: null then stands for NaN'):
        manifest.read(path.parent)


def text_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")  # looked into when the model is prepared
    return folder


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (EMBEDDING.replace('"mean"', '"max"'), "[text] pooling is 'max'; one of mean, cls, none is expected"),
        (EMBEDDING.replace('"embedding"', '"translation"'), "[text] task is 'translation'"),
        (EMBEDDING.replace("16", "0"), "max_length at least 1 token"),
        (EMBEDDING.replace('pooling = "mean"', ""), "must name an FP32 output of 2 dimensions with pooling 'none'"),
        (EMBEDDING.replace("tokenizer.json", "a/b"), "tokenizer must be a file of this folder"),
        (EMBEDDING.replace('"embedding"', '"classification"'), "leave pooling out"),
        (EMBEDDING + "truncate = 1\n", "[text] truncate is 1; bool is expected"),
        (EMBEDDING + 'output = "x"\n', "[text] output 'x' must name an FP32 output"),
        (EMBEDDING + A, "[table] and [text] are there; one of them says what people send"),
        (CLASSES, "must name an FP32 output of 2 dimensions"),
    ],
)
def test_what_does_not_fit_a_text_model(tmp_path: Path, extra: str, words: str) -> None:
    folder = text_folder(tmp_path / "phrases")
    assert words in refusal(folder, tiny_text.encoder(), extra)


def test_a_text_model_has_inputs_of_tokens(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "sums")
    extra = EMBEDDING.replace('pooling = "mean"', 'output = "x2"')
    assert "input 'x' is FP32 [-1, 2]; it may have input_ids, attention_mask" in refusal(folder, sums(), extra)
