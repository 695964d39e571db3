"""The command `zeroserve`; each module of this folder is a group of commands and imports what it runs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli import cloud, doctor, features, folders, making, serving

EPILOG = "Exit status: 0 done, 1 refused (one line says why and how to mend it), 2 wrong usage, 130 stopped."

app = typer.Typer(
    help="Serve ONNX models on AWS Lambda and over HTTP.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (making, folders, serving, cloud, doctor):
    for command in commands.COMMANDS:
        app.command(command.__name__.removesuffix("_"))(command)
app.add_typer(features.app, name="features")


def _version(wanted: bool) -> None:
    if wanted:
        from function.settings import VERSION

        typer.echo(f"zeroserve {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Serve ONNX models on AWS Lambda and over HTTP.

    First steps: zeroserve doctor; zeroserve add FILE.onnx; zeroserve serve NAME; zeroserve package NAME.
    """
