"""`zeroserve add`, `prepare`, `verify` and `pull`: what makes a model folder and its artifacts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.output import as_json, progress, refusals, refuse

if TYPE_CHECKING:
    from models.adding.add import Added

Models = Annotated[list[str], typer.Argument(help="Names of models, or folders with a model.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add(
    file: Annotated[Path, typer.Argument(help="The ONNX file.")],
    name: Annotated[str, typer.Option(help="Of the model; by default the file's.")] = "",
    example: Annotated[
        Path | None, typer.Option(help="An input that it takes: .npz, .npy, or JSON as a request has it.")
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="INPUT=1x3x640x640, where a dimension is open.")] = None,
    image: Annotated[str, typer.Option(help="It takes pictures, scaled so: imagenet, zero-one or minus-one-one.")] = "",
    labels: Annotated[Path | None, typer.Option(help="A text file with the name of one class a line.")] = None,
    columns: Annotated[
        Path | None, typer.Option(help="A file that names the columns of its input, one a line.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="It takes texts: its tokenizer.json; by default the one beside the file.")
    ] = None,
) -> None:
    """Make a served model of an ONNX file: its folder, model.toml, artifacts and an example request.

    The folder is made in MODEL_REPOSITORY, by default models/. Sizes of open dimensions are found by trying. The
    answers are compared with onnxruntime's. When anything is not in order, nothing is left behind.

    Example: zeroserve add detector.onnx --size images=1x3x640x640
    """
    with refusals():
        from models import places
        from models.adding.add import Wishes
        from models.adding.add import add as make

        wishes = Wishes(name, example, dict(map(_size, size or ())), image, labels, columns, tokenizer)
        with progress(f"add {file.name}") as step:
            added = make(file, places.repository(), wishes, step)
        print("\n".join(f"{added.model.name}: {line}" if ": " not in line else line for line in added.lines))
        print(_introduced(added))


def _size(text: str) -> tuple[str, list[int]]:
    name, _, shape = text.rpartition("=")
    sizes = [part for part in shape.lower().split("x") if part]
    if not name or not all(part.isdigit() for part in sizes):
        raise typer.BadParameter(f"{text!r} is not INPUT=1x3x640x640", param_hint="--size")
    return name, [int(part) for part in sizes]


def _introduced(added: Added) -> str:
    from infra import requests

    model = added.model
    same = "bit for bit" if added.difference == 0 else f"within {added.difference:.1g} of the largest number"
    said = (
        f"answers as onnxruntime does, {same}, on {added.compared} random inputs"
        if added.compared
        else "was not compared with onnxruntime: numpy does not have its datatypes"
    )
    lines = [f"{model.name}: {said}", f"{model.name}: added to {model.folder}", "", "Next:"]
    lines += [f"  zeroserve predict {requests.quoted(model)}", f"  zeroserve serve {requests.quoted(model)}"]
    return "\n".join([*lines, *(f"  {line}" for line in requests.curl_lines(model, "http://127.0.0.1:8080"))])


def prepare(
    models: Models,
    force: Annotated[bool, typer.Option("--force", help="Build again even if nothing changed.")] = False,
    here: Annotated[bool, typer.Option("--here", help="For the CPU of this machine alone.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="One of 8-bit integers as well, for CPUs with VNNI; says what it loses.")
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Pictures to make it with; means --int8. By default [int8] calibration, for digits its own."),
    ] = None,
) -> None:
    """Build the artifacts of models, one for each CPU family and a portable one.

    Example: zeroserve prepare digits
    """
    with refusals():
        from models import manifest
        from models.prepare import prepare as build

        for name in models:
            model = manifest.read(manifest.folder_of(name))
            print("\n".join(build(model, force=force, emulate=not here, int8=int8, calibration=calibration)))


def verify(models: Models, json: AsJson = False) -> None:
    """Hold artifacts against their records: the sha256 of each file, and the golden input's answer.

    Example: zeroserve verify digits --json
    """
    with refusals():
        from function.engine.repository import prepare_command
        from models import manifest
        from models.verify import verify as checked

        found: list[dict[str, Any]] = []
        for name in models:
            model = manifest.read(manifest.folder_of(name))
            results = list(checked(model))
            found += [{"model": model.name, "right": right, "found": line} for right, line in results]
            if not json:
                print("\n".join(line for _, line in results))
            if not all(right for right, _ in results):
                print(f"{model.name}: to mend: {prepare_command(str(model.prepared))}", file=sys.stderr)
        if json:
            as_json(found)
        if not all(row["right"] for row in found):
            raise typer.Exit(1)


def pull(
    model: Annotated[str, typer.Argument(help="Name of a model, or a folder with a model.toml.")],
    from_file: Annotated[Path | None, typer.Option(help="Take the file from here instead of the network.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="A URL instead of those in model.toml.")] = None,
) -> None:
    """Fetch a model's ONNX file from the sources in its model.toml; only the pinned bytes are taken.

    Example: zeroserve pull mobilenetv2
    """
    with refusals():
        from models import manifest
        from models.pull import pull as fetch

        if from_file and source:
            refuse("--from-file and --source exclude each other; give one")
        fetch(manifest.folder_of(model), sources=source or (), from_file=from_file)


COMMANDS = (add, prepare, verify, pull)
