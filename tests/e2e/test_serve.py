"""`make serve` as real processes: a name or a folder is prepared and served; what is not in order is one line."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from infra import processes
from models.manifest import HERE
from tests.contract import made_models
from tests.e2e.http_client import ask
from tests.support import ROOT, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATIENCE = 120.0  # seconds for what ends by itself


def environ(**variables: str) -> dict[str, str]:
    """Without a PATH there is no qemu, so that a model is prepared for this CPU alone, within a second."""
    return {**os.environ, "PATH": "", **variables}


def ended(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environ(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that was said by a process that ended as it should."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def write_shades(folder: Path) -> Path:
    """A model folder for pictures, not prepared."""
    write_folder(folder, made_models.shades(), made_models.shades_rule("none"))
    return folder


@contextmanager
def served(command: Sequence[str], **variables: str) -> Iterator[tuple[str, list[str], subprocess.Popen[str]]]:
    """URL of a server that says where it is, and what it printed until it was ready."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environ(**variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        printed: list[str] = []
        try:
            for line in process.stdout:
                printed.append(line.rstrip())
                if found := re.search(r"listening on (http://\S+)", line):
                    yield found[1], printed, process
                    break
            else:
                raise AssertionError("\n".join(printed))
        finally:
            process.terminate()


@pytest.mark.parametrize("relative", [False, True], ids=["absolute path", "relative path"])
def test_a_folder_anywhere_is_prepared_and_served(tmp_path: Path, picture: bytes, relative: bool) -> None:
    folder = write_shades(tmp_path / "my models" / "my shades")
    model = os.path.relpath(folder, ROOT) if relative else str(folder)
    # Variables that say something else do not matter: what was asked for is served.
    others = {"MODEL_NAME": "digits", "MODEL_REPOSITORY": str(HERE)}
    with served([sys.executable, "-m", "infra.serve", "--model", model, "--port", "0"], **others) as (url, printed, _):
        assert (folder / "prepared" / "model.json").is_file()
        where = next(line for line in printed if line.startswith("serving "))
        assert f"serving my shades from {folder} at {url}" in where
        curls = [shlex.split(line, comments=True) for line in printed if line.startswith("  curl ")]
        assert curls == [
            ["curl", "--data-binary", "@PICTURE", f"{url}/classify?top_k=3"],
            ["curl", f"{url}/v2/models/my%20shades"],
        ]
        assert ask(url, "GET", curls[1][1].removeprefix(url)).json["name"] == "my shades"
        answer = ask(url, "POST", "/classify?top_k=3", picture)
        assert (answer.status, len(answer.json["predictions"])) == (200, 3)


def test_a_name_of_this_repository(digits_prepared: Path) -> None:
    variables = {"PATH": os.environ["PATH"]}  # as it was prepared: otherwise it would be prepared anew
    with served([sys.executable, "-m", "infra.serve", "--port", "0"], **variables) as (url, printed, _):
        assert f"serving digits from {HERE}/digits at {url}" in printed
        assert ask(url, "GET", "/v2/models/digits").status == 200


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_hands_on_what_it_was_given(tmp_path: Path) -> None:
    folder = write_shades(tmp_path / "made")
    make = [shutil.which("make") or "", "--old-file=.venv/.ready", f"PY={sys.executable}", "serve"]
    with served([*make, f"MODEL={folder}", "PORT=0"]) as (url, printed, process):
        assert ask(url, "GET", "/v2/models/made").status == 200
        # The server itself is ended, for a shell may stand between it and make.
        (started,) = re.findall(r"as process (\d+)", "\n".join(printed))
        os.kill(int(started), signal.SIGTERM)
        process.wait(PATIENCE)


def test_an_unknown_model() -> None:
    line = refusal(ended("infra.serve", "--model", "nothing"))
    assert "'nothing' is neither a model here (digits" in line
    assert line.endswith("; run: zeroserve list")


def test_a_folder_without_its_file(tmp_path: Path) -> None:
    folder = write_shades(tmp_path / "unpulled")
    (folder / "model.onnx").unlink()
    line = refusal(ended("infra.serve", "--model", str(folder)))
    assert f"{folder}/model.onnx is missing; mend it, then run: zeroserve serve {folder}" in line
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace("[file]\n", '[file]\nsources = ["https://example.com/model.onnx"]\n'))
    line = refusal(ended("infra.serve", "--model", str(folder)))
    assert line.endswith(f"model.onnx is missing; run: zeroserve pull {folder}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name = ", "cannot be read: Invalid value"),
        ('name = "broken"', "[file] missing fields ['bytes', 'name', 'sha256']"),
        ("\xff\xfe", "cannot be read"),
    ],
    ids=["no TOML", "fields are missing", "not even text"],
)
def test_a_broken_model_toml(tmp_path: Path, content: str, words: str) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model.toml").write_bytes(content.encode("latin-1"))
    line = refusal(ended("infra.serve", "--model", str(folder)))
    assert f"{folder}/model.toml" in line
    assert words in line
    assert line.endswith(f"; mend it, then run: zeroserve serve {folder}")


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    folder = write_shades(tmp_path / "damaged")
    (folder / "model.onnx").write_bytes(b"something else")
    line = refusal(ended("infra.serve", "--model", str(folder)))
    assert "has 14 bytes" in line
    assert line.endswith(f"; mend it, then run: zeroserve serve {folder}")


def test_a_folder_of_another_name(tmp_path: Path) -> None:
    folder = write_shades(tmp_path / "shades").rename(tmp_path / "other folder")
    line = refusal(ended("infra.serve", "--model", str(folder)))
    assert "holds the model 'shades', and the server finds a model by its folder's name" in line
    assert shlex.split(line.partition("; run: ")[2]) == ["mv", "-T", str(folder), str(tmp_path / "shades")]
    assert not (folder / "prepared").exists()
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace('name = "shades"', 'name = "../shades"', 1))
    line = refusal(ended("infra.serve", "--model", str(folder)))
    assert line.endswith(
        f"set name = 'other folder' in its model.toml, then run: zeroserve serve {shlex.quote(str(folder))}"
    )


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    folder = write_shades(tmp_path / "waiting")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal(ended("infra.serve", "--model", str(folder), "--port", str(port)))
    assert f"port {port} of 127.0.0.1 cannot be had (Address already in use)" in line
    assert f"; run: zeroserve serve {folder} --port 0, which takes any free one" in line


@pytest.mark.parametrize("port", ["65536", "-1", "eighty", ""])
def test_what_is_no_port(port: str) -> None:
    line = refusal(ended("infra.serve", f"--port={port}"))
    assert f"PORT is {port!r}" in line
    assert line.endswith("; run: zeroserve serve digits --port 8080")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"MODEL_NAME": "unprepared"}, "'unprepared' is not prepared; run: zeroserve prepare {}/unprepared"),
        ({"MODEL_NAME": "nothing"}, "there is no model 'nothing'; the models here are: unprepared"),
        ({"QUEUE_SIZE": "many"}, "the environment variable QUEUE_SIZE must be a whole number, not 'many'"),
    ],
    ids=["not prepared", "unknown", "a bad setting"],
)
def test_the_server_itself_says_in_one_line_what_it_lacks(
    tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    write_shades(tmp_path / "unprepared")
    port = processes.free_port()
    done = ended("function.server", "--port", str(port), MODEL_REPOSITORY=str(tmp_path), **variables)
    assert words.format(tmp_path) in refusal(done)


def test_a_model_that_cannot_be_loaded_is_one_line_of_the_servers_log(tmp_path: Path) -> None:
    folder = made_models.add_model(tmp_path, "damaged", made_models.echo())
    for graph in (folder / "prepared").glob("*/model.onnx"):
        graph.write_bytes(b"\0" * graph.stat().st_size)
    done = ended(
        "function.server", f"--port={processes.free_port()}", MODEL_REPOSITORY=str(tmp_path), MODEL_NAME="damaged"
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "cannot be loaded" in line)
    assert line.startswith("ERROR:")
    assert line.endswith(f"; run: zeroserve prepare {folder}")
