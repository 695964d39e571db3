"""[[features]] of model.toml: what is taken, and what is refused in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models import extras
from models.manifest import ManifestError
from tests.contract.feature_models import FILE, ROWS, TABLE, VIEW, cards
from tests.support import write_folder

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import Manifest


def folder(path: Path, extra: str) -> Manifest:
    path.mkdir(parents=True, exist_ok=True)
    (path / FILE).write_text(ROWS)
    return write_folder(path, cards(), extra)


def test_a_view_is_part_of_the_prepared_model(tmp_path: Path) -> None:
    found = folder(tmp_path / "cards", TABLE + VIEW.format(more=f'file = "{FILE}"\nttl = 3600'))
    (view,) = extras.tables(found)["features"]
    assert (view["view"], view["project"], view["max_age"], view["ttl"]) == ("card_stats", "fraud", 60, 3600)
    assert view["entity"] == [{"name": "card_id", "datatype": "BYTES"}]
    assert [(each["name"], each["default"]) for each in view["columns"]][:2] == [("visits", 1000), ("mean", 0.5)]
    assert extras.files(found)[FILE].decode() == ROWS


PLAIN = TABLE + VIEW.format(more="")


@pytest.mark.parametrize(
    ("extra", "part"),
    [
        (VIEW.format(more=""), "for a model with a [table]"),
        ("[features]\nview = 'a'\n" + TABLE, "each under [[features]]"),
        (TABLE + VIEW.format(more="colour = 1"), "unknown fields ['colour']"),
        (TABLE + VIEW.format(more='on_error = "guess"'), "one of default, last, unavailable is expected"),
        (TABLE + VIEW.format(more="ttl = -1"), "seconds, 0 for ever"),
        (TABLE + VIEW.format(more='query = "SELECT 1"'), "must have :keys"),
        (TABLE + VIEW.format(more='file = "absent.csv"'), "absent.csv"),
        (TABLE + VIEW.format(more='file = "model.toml"'), "the head of"),
        (TABLE + VIEW.format(more='file = "../x.csv"'), "a file of this folder"),
        (PLAIN.replace('"card_stats"', '"card stats"'), "letters, digits and _"),
        (PLAIN.replace('datatype = "BYTES" }]', 'datatype = "FP32" }]'), "BYTES, INT64 or INT32"),
        (PLAIN.replace('"card_id"', '"amount"'), "the name of a column or an input as well"),
        (PLAIN.replace(", default = 1000", ""), "needs a default"),
        (PLAIN.replace("default = 1000", 'default = "a"'), "which is no INT64"),
        (PLAIN.replace('{ name = "visits", datatype = "INT64", ', '{ name = "other", datatype = "INT64", '), "add it"),
        (PLAIN.replace('{ name = "visits", datatype = "INT64", ', '{ name = "visits", datatype = "FP32", '), "INT64"),
        (PLAIN.replace('{ name = "visits", datatype = "INT64", ', '{ name = "mean", datatype = "FP32", '), "twice"),
        (PLAIN + VIEW.format(more=""), "twice"),
        (TABLE + '[[features]]\nview = "a"\nproject = "b"\ncolumns = [{name = "mean", datatype = "FP32"}]\n', "entity"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, extra: str, part: str) -> None:
    with pytest.raises(ManifestError) as caught:
        folder(tmp_path / "cards", extra)
    assert part in str(caught.value)
