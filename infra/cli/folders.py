"""`zeroserve list`, `show` and `remove`: the model folders that are here."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.making import AsJson
from infra.cli.output import as_json, refusals, refuse, table

if TYPE_CHECKING:
    from models.manifest import Manifest

Model = Annotated[str, typer.Argument(help="Name of a model, or a folder with a model.toml.")]


def list_(json: AsJson = False) -> None:
    """List the models of MODEL_REPOSITORY (by default models/), and those that come with zeroserve.

    Example: zeroserve list --json
    """
    with refusals():
        from models import manifest

        rows: list[dict[str, Any]] = []
        for name in manifest.names():
            try:
                rows.append(_described(manifest.read(manifest.folder_of(name))))
            except manifest.ManifestError as error:
                rows.append({"name": name, "problem": str(error)})
        if json:
            as_json(rows)
            return
        keys = ("name", "version", "takes", "artifacts", "folder")
        table([key.upper() for key in keys], [_cells(row, keys) for row in rows])


def _cells(row: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    return [row["name"], "-", row["problem"], "-", "-"] if "problem" in row else [row[key] for key in keys]


def _described(model: Manifest) -> dict[str, Any]:
    kinds = [spec.datatype for spec in model.inputs]
    tables = [name for name in ("image", "table", "text", "processing", "upstream") if getattr(model, name, None)]
    takes = ", ".join(dict.fromkeys(tables + kinds))
    return {
        "name": model.name,
        "version": model.version,
        "takes": takes,
        "artifacts": ", ".join(artifacts(model)) or ("not prepared" if model.path.is_file() else "not pulled"),
        "folder": str(model.folder),
    }


def artifacts(model: Manifest) -> list[str]:
    """The families that are built of it."""
    if model.upstream:  # it is asked elsewhere: its record is all that there is
        return ["prepared"] if (model.prepared / "model.json").is_file() else []
    return sorted(path.parent.name for path in model.prepared.glob("*/artifact.json"))


def show(model: Model, json: AsJson = False) -> None:
    """Show what a model takes and gives, where it lies and what is built of it.

    Example: zeroserve show digits
    """
    with refusals():
        from dataclasses import asdict

        from infra import requests
        from models import manifest, quantise

        found = manifest.read(manifest.folder_of(model))
        if json:
            document = asdict(found) | {"folder": str(found.folder), "artifacts": artifacts(found)}
            as_json(document)
            return
        bits = {"version": found.version, "description": found.description, "licence": found.licence}
        bits |= {"folder": str(found.folder), "file": f"{found.file.name}, {found.file.bytes:,} bytes"}
        bits |= {"artifacts": _described(found)["artifacts"]}
        if found.upstream:
            bits["upstream"] = f"{found.upstream.model} at {found.upstream.url}"
        if measured := quantise.recorded(found):
            bits["int8"] = measured
        if found.labels:
            bits["labels"] = f"{len(found.labels)}: {', '.join(found.labels[:5])}{' ...' if found.labels[5:] else ''}"
        print(found.name)
        for key, value in bits.items():
            print(f"  {key:<12} {value}")
        rows = [
            (side, spec.name, spec.datatype, spec.shape, getattr(found.example.get(spec.name), "shape", ""))
            for side, specs in (("input", found.inputs), ("output", found.outputs))
            for spec in specs
        ]
        if rows:
            table(("", "NAME", "DATATYPE", "SHAPE", "EXAMPLE"), rows)
        print("\n".join(requests.curl_lines(found, "http://127.0.0.1:8080")))


def remove(model: Model, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a model's folder from the repository, with its file and artifacts.

    Example: zeroserve remove detector --yes
    """
    with refusals():
        from models import manifest, places

        folder = manifest.folder_of(model)
        if folder.parent != places.repository().resolve():
            refuse(f"{folder} does not lie in the repository {places.repository()}; delete it yourself: rm -r {folder}")
        if folder.name in places.SHIPPED and folder.parent == places.EMBEDDED:
            refuse(f"{folder.name} comes with zeroserve; delete {folder / 'prepared'} to be rid of its artifacts")
        if not yes and not typer.confirm(f"delete {folder}?"):
            raise typer.Exit(1)
        shutil.rmtree(folder)
        print(f"{folder} is deleted")


COMMANDS = (list_, show, remove)
