"""`zeroserve features load`: rows of a file into the store of entity features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.output import refusals

app = typer.Typer(help="Entity features: fill the store that models with [[features]] read.", no_args_is_help=True)


@app.callback()
def features() -> None:
    """Entity features: fill the store that models with [[features]] read."""


@app.command("load")
def load(
    file: Annotated[Path, typer.Argument(help="CSV with a head, or Parquet: keys and columns of the view by name.")],
    view: Annotated[str, typer.Option(help="The view whose rows these are.")],
    model: Annotated[str, typer.Option(help="The model whose view it is; by default any that has it.")] = "",
    url: Annotated[str, typer.Option(help="The store; by default FEATURES_URL.")] = "",
    restart: Annotated[
        bool, typer.Option("--restart", help="From the first row, whatever an earlier run did.")
    ] = False,
) -> None:
    """Write the rows of a file into the store, in the layout that Feast writes.

    A run that was stopped goes on where it was when the same command is given again.

    Example: zeroserve features load cards.csv --view card_stats --url redis://127.0.0.1:6379
    """
    with refusals():
        from models import features_load

        print(features_load.told(file, view, model, url, restart=restart))
