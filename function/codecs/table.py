"""Rows of named columns, as [table] of model.toml describes them, to the model's inputs."""

from __future__ import annotations

from function.codecs.json_body import Array, Object, array_field, check_fields, describe
from function.codecs.values import packed, shown
from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    from function.engine.repository import Metadata
    from function.errors import PredictError
    from function.tensor import Tensor

    Column = dict[str, Any]  # name, datatype, default, categories, input

_ABSENT = object()


def columns_of(model: Metadata) -> dict[str, Column]:
    """The columns that are sent, by name; PredictError when the model has none.

    With [[features]] these are the entities' keys and what the features do not fill.
    """
    if model.table is None:
        raise invalid(
            f"model {model.name!r} takes no named columns (its model.toml has no [table]); "
            f'send {{"instances": [...]}} with tensors'
        )
    columns = {column["name"]: column for column in model.table["columns"]}
    for view in model.features or ():
        for column in view["columns"]:
            del columns[column["name"]]
        for key in view["entity"]:
            columns[key["name"]] = {**key, "default": None, "categories": [], "input": ""}
    return columns


def from_records(rows: Array, form: str, model: Metadata) -> dict[str, Tensor]:
    """The inputs for an array of objects; each PredictError names the row and the columns that there are."""
    columns = columns_of(model)
    found: dict[str, list[object]] = {name: [] for name in columns}
    for index, row in enumerate(rows):
        where = f"{form}[{index}]"
        if not isinstance(row, Object):
            raise invalid(f"{where} is {describe(row)}; an object of named columns is expected")
        fields = dict(row.fields())
        if len(fields) != len(row):
            check_fields(row, columns, where)  # one of them is there twice
        _check_names(fields, columns, where)
        for name, values in found.items():
            values.append(fields.get(name, _ABSENT))
    return _tensors(found, len(rows), model)


def from_split(frame: Object, model: Metadata) -> dict[str, Tensor]:
    """The same for {"columns": [names], "data": [rows]}, as pandas writes it; its "index" is not looked at."""
    check_fields(frame, ("columns", "data", "index"), "dataframe_split")
    array_field(frame, "index", "dataframe_split")
    names, data = (array_field(frame, field, "dataframe_split") for field in ("columns", "data"))
    if names is None or data is None or not len(data):
        raise invalid('dataframe_split needs "columns", an array of names, and "data", an array of at least one row')
    rows = [list(row) if isinstance(row, Array) else row for row in data]
    return from_lists(
        [name if isinstance(name, str) else shown(name) for name in names], rows, "dataframe_split", model
    )


def from_lists(names: Sequence[str], rows: Sequence[object], where: str, model: Metadata) -> dict[str, Tensor]:
    """The same for `rows` of values in the order of `names`."""
    columns = columns_of(model)
    _check_names(names, columns, where)
    if len(set(names)) != len(names):
        raise invalid(f"{where} has a column twice: {', '.join(names)}; send each once")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            came = f"{len(row)} values" if isinstance(row, list) else shown(row)
            raise invalid(f"{where}: row {index} is {came}; {len(names)} values are expected, one for each column")
    found: dict[str, Iterable[object]] = dict(zip(names, zip(*rows, strict=True), strict=True))
    return _tensors({name: list(found.get(name, [_ABSENT] * len(rows))) for name in columns}, len(rows), model)


def from_columns(named: Object, model: Metadata) -> dict[str, Tensor]:
    """The same for {"column": [values]}."""
    columns = columns_of(model)
    check_fields(named, columns, "'inputs'")
    found: dict[str, list[object]] = {}
    for name, values in named.fields():
        if not isinstance(values, Array) or not len(values):
            raise invalid(f"'inputs' has {name!r}, which must be an array of values; it is {describe(values)}")
        found[name] = list(values)
    if len({len(values) for values in found.values()}) != 1:
        raise invalid("the columns of 'inputs' have different lengths; send a value of each column for each row")
    count = len(next(iter(found.values())))
    _check_names(found, columns, "'inputs'")
    return _tensors({name: found.get(name, [_ABSENT] * count) for name in columns}, count, model)


def _check_names(names: Collection[str], columns: dict[str, Column], where: str) -> None:
    if unknown := [name for name in names if name not in columns]:
        raise _misnamed(f"{where} has the unknown columns {', '.join(map(describe, unknown[:20]))}", columns)
    lacking = [name for name, column in columns.items() if name not in names and column["default"] is None]
    if lacking:
        raise _misnamed(f"{where} lacks the columns {', '.join(lacking)}", columns)


def _misnamed(problem: str, columns: dict[str, Column]) -> PredictError:
    told = (name if column["default"] is None else f"{name} (optional)" for name, column in columns.items())
    return invalid(f"{problem}; the model's columns are {', '.join(told)}")


def _tensors(found: dict[str, list[object]], count: int, model: Metadata) -> dict[str, Tensor]:
    """A tensor for each input; with [[features]] for each column that was sent, which codecs/entities.py completes."""
    if model.features:
        return {name: _column(column, found[name], count, model)[1] for name, column in columns_of(model).items()}
    return tensors(found, count, model)


def tensors(found: Mapping[str, list[object]], count: int, model: Metadata) -> dict[str, Tensor]:
    """A tensor for each input, of the column or columns that belong to it: `count` values of each are in `found`."""
    inputs: dict[str, list[tuple[Column, list[Any], Tensor]]] = {}
    for column in model.table["columns"] if model.table else ():
        values, tensor = _column(column, found[column["name"]], count, model)
        inputs.setdefault(column["input"], []).append((column, values, tensor))
    made = {}
    for name, spec in model.inputs.items():
        group = inputs[name]
        shape = (count, len(group)) if len(spec.shape) == 2 else (count,)
        (column, _, tensor), *others = group
        if others or column["datatype"] != spec.datatype:
            lists = [list(map(int, values)) if each["datatype"] == "BOOL" else values for each, values, _ in group]
            flat = [value for row in zip(*lists, strict=True) for value in row]
            tensor = packed(name, spec.datatype, shape, flat, nullable=spec.nullable)
        tensor.shape = shape
        if not spec.accepts(shape):
            raise invalid(f"{count} rows came; model {model.name!r} takes {spec.shape[0]} at a time")
        made[name] = tensor
    return made


def _column(column: Column, values: list[object], count: int, model: Metadata) -> tuple[list[Any], Tensor]:
    """The values with the gaps filled, and the same as a tensor [count] of the column's own datatype."""
    name, nullable = column["name"], model.missing == "nan" and column["datatype"][:2] == "FP"
    filled = _completed(column, values, nullable=model.missing == "nan")
    tensor = packed(name, column["datatype"], (count,), filled, nullable=nullable)
    if column["categories"] and (unseen := set(filled) - set(column["categories"])):
        index = next(at for at, value in enumerate(filled) if value in unseen)
        known = ", ".join(map(describe, column["categories"]))
        raise invalid(f"{name!r}: row {index} is {shown(filled[index])}, a category never seen; known are {known}")
    return filled, tensor


def _completed(column: Column, values: list[object], *, nullable: bool) -> list[Any]:
    """The values with the column's default where there is none. null stays null where that is NaN."""
    default, may_be_null = column["default"], nullable and column["datatype"][:2] == "FP"
    if default is None and (may_be_null or None not in values):
        return values
    if default is None:
        raise invalid(
            f"{column['name']!r}: row {values.index(None)} is null; {column['datatype']} needs a value, "
            "or a default in model.toml"
        )
    return [default if value is _ABSENT or (value is None and not may_be_null) else value for value in values]
