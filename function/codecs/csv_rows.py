"""CSV bodies: with a head of column names for a model with a [table], numbers alone for one with one matrix."""

from __future__ import annotations

import csv
import io

from function.codecs import table
from function.codecs.values import packed, takes
from function.errors import invalid
from function.limits import LIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from function.engine.repository import Metadata
    from function.messages import Body
    from function.tensor import Tensor

_FIELD_BYTES = 128  # of memory, for a field as Python's
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def decode(body: Body, model: Metadata) -> dict[str, Tensor]:
    """Each of the model's inputs. PredictError (INVALID_ARGUMENT) for what is not CSV or does not fit the model."""
    with LIMITS.hold((body.count(b",") + body.count(b"\n")) * _FIELD_BYTES, "this CSV", "send fewer rows at a time"):
        try:
            text = bytes(body).decode("utf-8-sig")
            rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
        except UnicodeDecodeError as error:
            raise invalid(f"the CSV is not UTF-8 (byte {error.start})") from None
        except csv.Error as error:
            raise invalid(f"the body is not CSV that can be read: {error}") from None
        if model.table is None:
            return _matrix(rows, model)
        if len(rows) < 2:
            raise invalid("the CSV has no rows; send the column names in the first line and a row in each further one")
        names, kinds = rows[0], {name: column["datatype"] for name, column in table.columns_of(model).items()}
        values = [
            [_value(field, name, kinds.get(name, "BYTES"), number) for name, field in zip(names, row, strict=False)]
            if len(row) == len(names)
            else row
            for number, row in enumerate(rows[1:], 1)
        ]
        return table.from_lists(names, values, "the CSV", model)


def _matrix(rows: list[list[str]], model: Metadata) -> dict[str, Tensor]:
    spec = next(iter(model.inputs.values()))
    if len(model.inputs) != 1 or len(spec.shape) != 2 or not rows:
        raise invalid(
            f"CSV without a [table] in model.toml is for models with one input of two dimensions, and needs a row; "
            f"{model.name!r} takes {', '.join(f'{name} {list(each.shape)}' for name, each in model.inputs.items())}"
        )
    shape = (len(rows), len(rows[0]))
    if not spec.accepts(shape) or any(len(row) != shape[1] for row in rows):
        raise invalid(f"the CSV's first row has {shape[1]} fields; all must fit {list(spec.shape)} (-1: any size)")
    flat = [_value(field, spec.name, spec.datatype, number) for number, row in enumerate(rows) for field in row]
    return {spec.name: packed(spec.name, spec.datatype, shape, flat, nullable=spec.nullable)}


def _value(field: str, name: str, datatype: str, number: int) -> Any:
    """The field as its datatype's Python value; an empty one is null but for BYTES."""
    if datatype == "BYTES":
        return field
    text = field.strip()
    if not text:
        return None
    read: Callable[[str], Any] = float if datatype[:2] == "FP" else int
    if datatype == "BOOL":
        if text.lower() not in _TRUE + _FALSE:
            raise invalid(f"the CSV: row {number} has {field[:60]!r} for {name!r}; {takes(datatype)} is expected")
        return text.lower() in _TRUE
    try:
        value = read(text)
        if value - value == 0 and "_" not in text:
            return value
        if value != value:  # noqa: PLR0124  (pandas can be told to write NaN)
            return None
        raise ValueError
    except ValueError:
        raise invalid(f"the CSV: row {number} has {field[:60]!r} for {name!r}; {takes(datatype)} is expected") from None
