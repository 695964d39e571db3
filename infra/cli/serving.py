"""`zeroserve predict`, `run` and `serve`: a model that answers, in this process, in the emulator, over HTTP."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.making import AsJson
from infra.cli.output import refusals, refuse

Model = Annotated[str, typer.Argument(help="Name of a model, or a folder with a model.toml.")]
Chosen = Annotated[
    str, typer.Argument(help="Name of a model, or a folder with a model.toml; by default your only one, else digits.")
]
Body = Annotated[Path | None, typer.Argument(help="A picture, or JSON as a request has it; by default the example.")]


def _chosen(model: str, command: str) -> str:
    """The model that is meant where none is named; ends the command where there are several."""
    from models import manifest

    if model:
        return model
    own = manifest.own_names()
    if len(own) > 1:
        refuse(f"{len(own)} models are here: {', '.join(own)}; say which: zeroserve {command} {shlex.quote(own[0])}")
    chosen = own[0] if own else "digits"
    why = "your only one" if own else "which comes with zeroserve; for one of yours: zeroserve add FILE.onnx"
    print(f"no model is named; taking {chosen}, {why}", file=sys.stderr, flush=True)
    return chosen


def predict(
    model: Model,
    file: Body = None,
    url: Annotated[str, typer.Option(help="Ask the server or function there, instead of this process.")] = "",
    json: AsJson = False,
) -> None:
    """Send one request to a model and show the answer.

    Example: zeroserve predict digits .cache/samples/digit-0.png
    """
    with refusals():
        from infra import answers, requests, serve

        found = serve.ready_model(model, quiet=True)
        call = requests.given(found, file) if file else requests.recorded(found)
        status, answer = answers.over_http(url, call) if url else answers.in_process(found, call)
        if status != 200:
            refuse(answers.refusal(status, answer))
        if json:
            sys.stdout.write(answer.decode().rstrip("\n") + "\n")
        else:
            print(answers.shown(answer))


def run(
    model: Chosen = "",
    file: Body = None,
    image: Annotated[str, typer.Option(help="A picture to send.")] = "",
) -> None:
    """Run the function in AWS's Lambda emulator, send it requests, and show the answers and what they cost.

    The recorded example of the model is sent; digits brings pictures of its own. Where the emulator cannot be fetched,
    the plain server takes its place.

    Example: zeroserve run mobilenetv2 cat.jpg
    """
    with refusals():
        from infra import run as emulated

        model = _chosen(model, "run")
        raise typer.Exit(emulated.run(model, image or str(file or "")))


def serve(
    model: Chosen = "",
    port: Annotated[str, typer.Option(help="Of 127.0.0.1; 0: any free one.")] = "8080",
    reload: Annotated[
        bool, typer.Option("--reload", help="Prepare and load the model anew whenever its folder changes.")
    ] = False,
) -> None:
    """Prepare a model and serve it over HTTP until Ctrl-C; without a name your only one, else digits.

    Example: zeroserve serve digits --port 0 --reload
    """
    with refusals():
        from infra import reload as reloading
        from infra import serve as server

        model = _chosen(model, "serve")
        number = server.free_port(port, model)
        found = server.ready_model(model)
        if reload:
            raise typer.Exit(reloading.serve(found, number))
        server.become_server(found, number)


COMMANDS = (predict, run, serve)
