"""[[features]] of model.toml: what is known about an entity, where it is read from, and which columns it fills."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.declared import Column
from models.table import TableError, make

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import TensorSpec

_WORD = re.compile(r"[A-Za-z0-9_]+")  # what Feast takes, and every store as part of a name
ON_ERROR = ("default", "last", "unavailable")


@dataclass(frozen=True)
class Key:
    """A join key: what a request names the entity by."""

    name: str
    datatype: str

    def __post_init__(self) -> None:
        if self.datatype not in ("BYTES", "INT64", "INT32"):
            raise TableError(
                f"[[features]] entity {self.name!r} is {self.datatype!r}; BYTES, INT64 or INT32 is expected"
            )


@dataclass(frozen=True)
class View:
    """One [[features]]. `max_age`: seconds for which a copy is believed, 0 for ever; `ttl`: seconds that an observation
    counts, 0 for ever; `file`: rows that come with the model, for where there is no store."""

    view: str
    project: str
    entity: list[Key]
    columns: list[Column]
    max_age: float = 60.0
    ttl: float = 0.0
    on_error: str = "default"
    query: str = ""
    file: str = ""

    def __post_init__(self) -> None:
        for name, value in (("view", self.view), ("project", self.project)):
            if not _WORD.fullmatch(value):
                raise TableError(f"[[features]] {name} is {value!r}; letters, digits and _ are expected")
        if self.on_error not in ON_ERROR:
            raise TableError(f"[[features]] on_error is {self.on_error!r}; one of {', '.join(ON_ERROR)} is expected")
        if self.max_age < 0 or self.ttl < 0:
            raise TableError("[[features]] max_age and ttl are seconds, 0 for ever")
        if self.query and (len(self.entity) != 1 or ":keys" not in self.query):
            raise TableError("[[features]] query must have :keys, as in `WHERE id = ANY(:keys)`, and entity one key")
        if "/" in self.file:
            raise TableError(f"[[features]] file is {self.file!r}; a file of this folder is expected")


def read(document: dict[str, Any], folder: Path, inputs: list[TensorSpec], sent: dict[str, Any]) -> list[View]:
    """The [[features]] of `document`; TableError where one does not fit the [table], which is in `sent`."""
    rows, table, missing = document["features"], sent.get("table"), document.get("missing", "")
    if not isinstance(rows, list) or not rows:
        raise TableError("features should be tables, each under [[features]]")
    if table is None or "processing" in sent:
        raise TableError("[[features]] is for a model with a [table] and without processing.py")
    views = [_view(row) for row in rows]
    taken: dict[str, Column] = {column.name: column for column in table.columns}
    seen: set[str] = set()
    for view in views:
        for column in view.columns:
            _check_column(column, taken.get(column.name), missing)
            if column.name in seen:
                raise TableError(f"[[features]] has the column {column.name!r} twice")
            seen.add(column.name)
        for key in view.entity:
            if key.name in taken or key.name in [spec.name for spec in inputs]:
                raise TableError(f"[[features]] entity {key.name!r} is the name of a column or an input as well")
        if view.file:
            check_file(folder / view.file, view)
    if len({view.view for view in views}) != len(views):
        raise TableError("[[features]] has a view twice; give all its columns in one")
    kinds = {(key.name, key.datatype) for view in views for key in view.entity}
    if len(kinds) != len({name for name, _ in kinds}):
        raise TableError("[[features]] has an entity key with two datatypes")
    return views


def _view(row: Any) -> View:
    lists: dict[str, Any] = {}
    for field, cls in (("entity", Key), ("columns", Column)):
        items = row.get(field) if isinstance(row, dict) else None
        if not isinstance(items, list) or not items:
            raise TableError(f"[[features]] needs {field}, each under [[features.{field}]]")
        lists[field] = [make(cls, f"[[features.{field}]] ", item) for item in items]
        if len({item["name"] for item in items}) != len(items):
            raise TableError(f"[[features.{field}]] has a name twice")
    return make(View, "[[features]] ", row | lists)


def _check_column(column: Column, target: Column | None, missing: str) -> None:
    name = f"[[features.columns]] {column.name!r}"
    if target is None:
        raise TableError(f"{name} is not among the [[table.columns]]: add it there, in the place where it belongs")
    if column.categories or column.input:
        raise TableError(f"{name} has categories or input, which belong to its [[table.columns]]")
    texts = (column.datatype == "BYTES", target.datatype == "BYTES")
    if texts[0] != texts[1] or (column.datatype[:2] == "FP" and target.datatype[:2] != "FP"):
        raise TableError(f"{name} is {column.datatype}, its [[table.columns]] {target.datatype}")
    if column.default is None and not (missing == "nan" and target.datatype[:2] == "FP"):
        raise TableError(f"{name} needs a default: what the model gets of an entity that nobody knows")


def check_file(path: Path, view: View) -> None:
    """TableError unless the CSV's head names the view's keys and columns."""
    with path.open(encoding="utf-8", newline="") as file:
        head = next(csv.reader(file), [])
    expected = [*(key.name for key in view.entity), *(column.name for column in view.columns)]
    if sorted(head) != sorted(expected):
        raise TableError(f"[[features]] file: the head of {path} is {', '.join(head)}; expected {', '.join(expected)}")
