"""`make serve`: prepares a model and serves it over HTTP; what is not in order is one line with the next command.

python -m infra.serve --model digits --port 8080
"""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from infra import processes, requests
from models import manifest, places, prepare
from models.example import FILE
from models.manifest import HERE, ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.manifest import Manifest

START_SECONDS = 60.0
HOST = "127.0.0.1"  # of function.server, unless it is told otherwise


class ServeError(Exception):
    """Nothing is served; the message says why, and the next command to type."""


def free_port(text: str, model: str) -> int:
    """The port to listen on, 0 for any; ServeError when it is none or cannot be had."""
    again = f"zeroserve serve {shlex.quote(model)} --port "
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ServeError(f"PORT is {text!r}, a number from 0 (any free one) to 65535 is expected; run: {again}8080")
    if text == "0":
        return processes.free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: only a listener is in the way
        try:
            probe.bind((HOST, int(text)))
        except OSError as error:
            raise ServeError(
                f"port {text} of {HOST} cannot be had ({error.strerror}); run: {again}0, which takes any free one"
            ) from error
    return int(text)


def ready_model(name: str, *, quiet: bool = False) -> Manifest:
    """The model of a folder in models/ or anywhere, prepared for this machine; ServeError says what it lacks."""
    try:
        folder = manifest.folder_of(name)
    except ManifestError as error:
        raise ServeError(f"{error}; run: zeroserve list") from error
    again = f"zeroserve serve {shlex.quote(name)}"
    try:
        model = manifest.read(folder)
    except ManifestError as error:
        raise ServeError(f"{error}; mend it, then run: {again}") from error
    if folder.name != model.name:
        found = f"{folder} holds the model {model.name!r}, and the server finds a model by its folder's name"
        if "/" in model.name or not model.name.strip("."):  # no folder can have it
            raise ServeError(f"{found}; set name = {folder.name!r} in its model.toml, then run: {again}")
        raise ServeError(f"{found}; run: {shlex.join(['mv', '-T', str(folder), str(folder.parent / model.name)])}")
    try:
        lines = prepare.prepare(model, emulate=folder.parent == places.EMBEDDED)
        if not quiet:
            print("\n".join(lines))
    except ManifestError as error:
        # Some of its messages name the command themselves.
        raise ServeError(f"{error}" if "; run: " in str(error) else f"{error}; mend it, then run: {again}") from error
    except OSError as error:  # a read-only folder, a full disk
        raise ServeError(f"{model.prepared} cannot be written: {error}; mend it, then run: {again}") from error
    return model


def introduce(model: Manifest, port: int) -> str:
    """What is served, from where, and a line to ask it with."""
    url = f"http://{HOST}:{port}"
    where = "" if model.folder.parent == HERE else f" (its other models are those in {model.folder.parent})"
    lines = [f"serving {model.name} from {model.folder} at {url}{where}"]
    if model.image:
        lines.append(f"  curl --data-binary @PICTURE '{url}/classify?top_k=3'     # a JPEG, PNG or WebP file")
    if (model.folder / FILE).is_file():
        lines.append(f"  {requests.curl_lines(model, url)[0]}")
    lines.append("  curl " + shlex.quote(f"{url}/v2/models/{quote(model.name)}"))
    return "\n".join(lines)


def command(port: int) -> list[str]:
    """What starts the server."""
    return [sys.executable, "-m", "function.server", "--port", str(port)]


def environment(model: Manifest) -> dict[str, str]:
    """This process's, in which the server finds the model."""
    return os.environ | {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name}


def become_server(model: Manifest, port: int) -> NoReturn:
    """function.server in the place of this process, so that signals and the exit status are its own."""
    print(introduce(model, port), flush=True)
    line = command(port)
    os.execve(line[0], line, environment(model))  # noqa: S606  (a fixed command, without a shell)


@contextmanager
def running(model: Manifest) -> Iterator[str]:
    """The URL of a server beside this process, from `with` to the end of its block; ServeError when it ends at once."""
    port = processes.free_port()
    url = f"http://{HOST}:{port}"
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command(port), env=environment(model), stdout=log, stderr=log) as child,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                if child.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    said = log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                    raise ServeError(f"the server did not start: {said[-1]}")
                time.sleep(0.02)
            yield url
        finally:
            child.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def main() -> int:
    """Becomes the server; 1 and one line on stderr when there is nothing to serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="name of a model in models/, or a folder with a model.toml")
    parser.add_argument("--port", default="8080", help="of 127.0.0.1; 0: any free one")
    arguments = parser.parse_args()
    try:
        port = free_port(arguments.port, arguments.model)
        model = ready_model(arguments.model)
    except ServeError as error:
        print("error:", " ".join(str(error).split("\n")), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    become_server(model, port)


if __name__ == "__main__":
    sys.exit(main())
