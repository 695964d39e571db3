"""Example requests: read from what somebody has, or made of the golden input; written as example.json."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from function.engine import golden
from function.tensor import element_count
from models.adding.sizes import numpy_type
from models.adding.words import AddError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from function.tensor import Spec

    Arrays = dict[str, NDArray[Any]]

_DIGITS = ((2_000, 4), (50_000, 3), (300_000, 2))  # up to so many numbers: so many digits; else one


def read(path: Path, specs: Mapping[str, Spec]) -> tuple[Arrays | None, dict[str, Any] | None]:
    """(an array for each input, the request's body) of a .npz, .npy or .json file.

    The arrays are None for rows of named columns, the body None where one has to be made. AddError says what is wrong.
    """
    try:
        if path.suffix in (".npz", ".npy"):
            loaded = np.load(path, allow_pickle=False)
            named = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"": loaded}
            return _arrays(path, named, specs), None
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise AddError(
            f"--example {path} cannot be read: {error}; a .npz or .npy file of numpy, or JSON, is expected"
        ) from error
    if not isinstance(document, dict):
        raise AddError(f"--example {path} should be a JSON object: " + '{"inputs": [...]} or {"instances": [...]}')
    if "instances" in document:
        return _of_instances(path, document["instances"], specs), document
    if "input" in document and "input" not in specs:  # OpenAI's texts
        return None, document
    inputs = document.get("inputs", document)
    if isinstance(inputs, list) and inputs and all(isinstance(each, dict) and "data" in each for each in inputs):
        named = {str(each.get("name")): _shaped(path, each) for each in inputs}
        return _arrays(path, named, specs), document
    named = inputs if isinstance(inputs, dict) else {"": inputs}
    return _arrays(path, named, specs), None


def _of_instances(path: Path, instances: object, specs: Mapping[str, Spec]) -> Arrays | None:
    """Nested tensors, stacked; None for rows of columns or texts, which are no tensors yet."""
    if not isinstance(instances, list) or not instances:
        raise AddError(f"--example {path} has no instances; give at least one")
    if all(isinstance(each, dict) for each in instances):
        if set(instances[0]) != set(specs):
            return None
        if all(np.ndim(each[name]) + 1 == len(spec.shape) for each in instances for name, spec in specs.items()):
            return _arrays(path, {name: [each[name] for each in instances] for name in specs}, specs)
        return None
    return None if any(isinstance(each, (str, dict)) for each in instances) else _arrays(path, {"": instances}, specs)


def _shaped(path: Path, tensor: dict[str, Any]) -> NDArray[Any]:
    data = np.array(tensor["data"], object if tensor.get("datatype") == "BYTES" else None)
    try:
        return data.reshape(tensor.get("shape", data.shape))
    except (ValueError, TypeError) as error:
        raise AddError(f"--example {path}: the input {tensor.get('name')!r} is not of its shape: {error}") from error


def _arrays(path: Path, named: Mapping[str, Any], specs: Mapping[str, Spec]) -> Arrays:
    """Each input's array in its datatype; a single one without a name is the single input."""
    if len(named) == 1 and len(specs) == 1 and not set(named) & set(specs):
        named = dict(zip(specs, named.values(), strict=True))
    if set(named) != set(specs):
        raise AddError(f"--example {path} has {_names(named)}; the model's inputs are {_names(specs)}")
    arrays = {}
    for name, spec in specs.items():
        try:
            array = np.asarray(named[name], numpy_type(spec.datatype))
        except (ValueError, TypeError, OverflowError) as error:
            raise AddError(f"--example {path}: {name!r} is not {spec.datatype}: {error}") from error
        if not spec.accepts(array.shape):
            raise AddError(f"--example {path}: {name!r} has the shape {list(array.shape)}; {list(spec.shape)} is taken")
        arrays[name] = array
    return arrays


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in names) or "nothing"


def entries(arrays: Arrays, specs: Mapping[str, Spec], *, first: bool = False) -> dict[str, dict[str, Any]]:
    """[example] of arrays: the shapes, and the value where all elements are the same and matter.

    With `first`, the first element stands for all integers and texts: where 0 and 1 are not what the model takes.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        found[name] = {"shape": list(array.shape)}
        chosen = specs[name].datatype in ("BYTES", "BOOL") or specs[name].datatype.startswith(("INT", "UINT"))
        if array.size and (chosen or not array.shape):
            value = array.ravel()[0]
            text = specs[name].datatype == "BYTES"
            if text or first or bool((array == value).all()):
                found[name]["value"] = str(value) if text else value.item()
    return found


def body(
    specs: Mapping[str, Spec], example: Mapping[str, dict[str, Any]], arrays: Arrays | None = None
) -> dict[str, Any] | None:
    """A request of the Open Inference Protocol: `arrays`, else the golden input with rounded numbers.

    None where JSON cannot have it (BF16).
    """
    if any(spec.datatype == "BF16" for spec in specs.values()):
        return None
    inputs = []
    for name, tensor in golden.inputs(specs, example=example).items():
        array = arrays[name] if arrays else None
        shape = tensor.shape if array is None else array.shape
        values = array.ravel().tolist() if array is not None else None
        if values is None and isinstance(tensor.data, list):
            values = [text.decode() for text in tensor.data]
        elif values is None:
            count = element_count(shape)
            digits = next((digits for most, digits in _DIGITS if count <= most), 1)
            is_float = tensor.datatype.startswith("FP")
            values = [round(value, digits) if is_float else value for value in tensor.numbers()]
        inputs.append({"name": name, "shape": list(shape), "datatype": tensor.datatype, "data": values})
    return {"inputs": inputs}


def rows(columns: list[dict[str, Any]]) -> dict[str, Any]:
    """A V1 request of one row for a model with [table]."""
    numbers = {"BOOL": False, "BYTES": "0", "INT64": 1, "INT32": 1}
    row = {
        column["name"]: (column.get("categories") or [column.get("default", numbers.get(column["datatype"], 0.5))])[0]
        for column in columns
    }
    return {"instances": [row]}


def write(path: Path, document: dict[str, Any]) -> None:
    """One line, as a request's body is."""
    path.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
