"""From an ONNX file to a prepared model folder, with nothing to write by hand; or nothing at all, and why."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models import example as examples
from models import manifest, prepare, raw
from models.adding import check, columns, compose, missing, place, request, sizes, source, surgery, texts
from models.adding.words import AddError
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from function.tensor import Spec
    from models.adding.source import Source
    from models.manifest import Manifest

GRAPH = "model.onnx"


@dataclass(frozen=True)
class Wishes:
    """What a caller says about the file; empty: found out. `sizes` are input -> shape."""

    name: str = ""
    example: Path | None = None
    sizes: dict[str, list[int]] = field(default_factory=dict)
    image: str = ""
    labels: Path | None = None
    columns: Path | None = None
    tokenizer: Path | None = None


@dataclass(frozen=True)
class Added:
    """The model, what was changed and built (a line each), and how far it is from onnxruntime (relative)."""

    model: Manifest
    lines: list[str]
    difference: float
    compared: int


def add(path: Path, repository: Path, wishes: Wishes, step: Callable[[str], None] = lambda _: None) -> Added:
    """Makes the folder in `repository` and prepares it. AddError or ManifestError: nothing is left behind."""
    name = place.name_of(path, wishes.name)
    if (repository / name).exists():  # said at once, not after minutes
        raise place.taken(repository / name)
    step(f"reading {path.name}")
    found = source.read(path)
    with place.new_folder(repository, name) as folder:
        try:
            added = _fill(found, folder, wishes, step)
        except ManifestError as error:
            raise AddError(_of_theirs(str(error), folder, path, wishes)) from error
    return Added(manifest.read(repository / name), added.lines, added.difference, added.compared)


def _of_theirs(message: str, folder: Path, path: Path, wishes: Wishes) -> str:
    """A message about the copies in `folder` as one about the files that they were made of."""
    tokenizer = wishes.tokenizer or path.parent / texts.TOKENIZER
    origins = {GRAPH: path, "model.toml": path, texts.TOKENIZER: tokenizer, "": path.parent}
    for name, origin in origins.items():
        message = message.replace(str(folder / name), str(origin))
    return message


def _fill(found: Source, folder: Path, wishes: Wishes, step: Callable[[str], None]) -> Added:
    filler = missing.taken_by(found.model.graph)
    lines, labels = surgery.operate(found.model)
    graph = folder / GRAPH
    step("copying")
    if lines:
        graph.write_bytes(found.model.SerializeToString(deterministic=True))
    else:  # its own bytes, so that its sha256 is known elsewhere too
        shutil.copyfile(found.path, graph)
    for external in found.external:
        (folder / external).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found.path.parent / external, folder / external)
    oracle = sizes.open_quietly(graph, found.path)
    step("finding sizes")
    document, body = _describe(found, folder, wishes, oracle, labels)
    if filler and any(row["datatype"].startswith("FP") for row in document["inputs"]):
        document["missing"] = "nan"
        lines.append(f"null stands for a number that is missing (NaN), which its {filler} takes")
    (folder / "model.toml").write_text(compose.toml(document), encoding="utf-8")
    if "text" in document:
        lines.append(texts.told(document["text"]))
    if body:
        request.write(folder / examples.FILE, body)
    step("preparing")
    model = manifest.read(folder)
    cases = check.expectations(oracle, sizes.specs_of(oracle)[0], raw.examples(model))
    del oracle
    lines += prepare.prepare(model, emulate=False)
    step("comparing with onnxruntime")
    return Added(model, lines, check.compare(model, cases), len(cases))


def _describe(
    found: Source, folder: Path, wishes: Wishes, oracle: Any, labels: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """model.toml, and the example request."""
    if wishes.tokenizer and (wishes.image or wishes.columns):
        raise AddError("--tokenizer, --image and --columns exclude each other; one of them says what people send")
    inputs, outputs = sizes.specs_of(oracle)
    categories = columns.categories_of(found.model.graph)
    rows = (
        columns.from_file(wishes.columns, inputs, categories)
        if wishes.columns
        else columns.from_inputs(inputs, categories)
    )
    example, body = _example(oracle, wishes, inputs, {name: texts[0] for (name, _), texts in categories.items()})
    document: dict[str, Any] = {
        "name": folder.name,
        "version": "1",
        "description": _description(found),
        "licence": next((p.value for p in found.model.metadata_props if p.key.lower() in ("license", "licence")), "")
        or "not stated",
        "source": found.path.name,
    }
    if wishes.labels:
        labels = _read_labels(wishes.labels)
    if labels:
        document["labels"] = "labels.txt"
        (folder / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    document["file"] = {"name": GRAPH, **_digest(folder / GRAPH)}
    if found.external:
        document["external"] = [{"name": name, **_digest(folder / name)} for name in found.external]
    document |= {"inputs": compose.specs(inputs.values()), "outputs": compose.specs(outputs.values())}
    document["example"] = {
        name: entry["shape"] if entry.get("value") is None else entry for name, entry in example.items()
    }
    if wishes.image:
        softmaxed = {name for node in found.model.graph.node if node.op_type == "Softmax" for name in node.output}
        shapes = {name: entry["shape"] for name, entry in example.items()}
        document["image"] = compose.image(wishes.image, inputs, outputs, shapes, softmaxed)
    if text := None if wishes.image or wishes.columns else texts.find(found, wishes.tokenizer, inputs, outputs, labels):
        tokenizer, document["text"] = text
        shutil.copyfile(tokenizer, folder / texts.TOKENIZER)
        body = body if body and body.keys() & {"instances", "input"} else texts.example(folder.name, document["text"])
    elif rows and not wishes.image:
        document["table"] = {"columns": rows}
        body = body if body and "instances" in body else request.rows(rows)
    return document, body


def _example(
    oracle: Any, wishes: Wishes, inputs: dict[str, Spec], texts: dict[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any] | None]:
    """[example], and the request that was given or is made of it."""
    given: dict[str, dict[str, Any]] = {}
    for name, shape in wishes.sizes.items():
        if name not in inputs:
            raise AddError(f"--size names the input {name!r}; the inputs are {', '.join(inputs)}")
        if not inputs[name].accepts(tuple(shape)):
            raise AddError(f"--size of {name!r} is {shape}, and the model takes {list(inputs[name].shape)}")
        given[name] = {"shape": shape}
    arrays = body = None
    if wishes.example:
        arrays, body = request.read(wishes.example, inputs)
    if arrays is None:
        example = sizes.find(oracle, inputs, given, texts)
        return example, body or request.body(inputs, example)
    try:
        sizes.run(oracle, arrays)
    except RuntimeError as error:
        raise AddError(f"--example {wishes.example} is not what the model takes: {sizes.first_line(error)}") from error
    try:
        example = sizes.find(oracle, inputs, request.entries(arrays, inputs), texts)
    except AddError:  # numbers that only some models take: the first of each input stands for all
        example = sizes.find(oracle, inputs, request.entries(arrays, inputs, first=True), texts)
    return example, body or request.body(inputs, example, arrays)


def _description(found: Source) -> str:
    model = found.model
    opsets = ", ".join(f"{each.domain or 'ai.onnx'} {each.version}" for each in model.opset_import)
    producer = " ".join(filter(None, (model.producer_name, model.producer_version))) or "an unknown exporter"
    return f"made by {producer}; opset {opsets}"


def _read_labels(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AddError(
            f"--labels {path} cannot be read: {error}; a text file, one label a line, is expected"
        ) from error


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
