"""The command `zeroserve`: each group of commands, its refusals, its exit statuses and its JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from infra import requests
from infra.cli.app import app
from models import manifest
from models.manifest import ManifestError
from tests import support, tiny_text
from tests.contract import made_models
from tests.integration.command import refusal, run

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {
    command.name or command.callback.__name__: command for command in app.registered_commands if command.callback
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    monkeypatch.setenv("MODEL_REPOSITORY", str(folder))
    return folder


def test_every_command_is_here() -> None:
    assert set(COMMANDS) == {
        *("add", "prepare", "verify", "pull", "list", "show", "remove"),
        *("predict", "run", "serve", "package", "deploy", "logs", "doctor"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    text = " ".join(run(name, "--help").stdout.split())
    assert f"Example: zeroserve {name}" in text


def test_help_says_the_exit_statuses_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['zeroserve', '--help']\n"
        "try:\n    from zeroserve.__main__ import main; main()\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'onnx', 'onnxruntime', 'boto3', 'uvicorn', 'rich.table'} & set(sys.modules)))"
    )
    printed = support.run_program(program).stdout
    assert "Exit status: 0 done, 1 refused" in printed
    assert printed.rstrip().endswith("[]")


def test_the_version() -> None:
    from function.settings import VERSION

    assert run("--version").stdout == f"zeroserve {VERSION}\n"


@pytest.mark.parametrize("arguments", [["nothing"], ["add"], ["show", "--bad"], ["add", "x.onnx", "--size", "3x3"]])
def test_a_wrong_usage_is_status_2(arguments: list[str]) -> None:
    run(*arguments, status=2)


def test_from_a_file_to_an_answer(repository: Path, tmp_path: Path) -> None:
    path = support.save(support.doubling(), tmp_path / "double.onnx")
    said = run("add", path).stdout
    assert "double: answers as onnxruntime does, bit for bit, on 4 random inputs" in said
    assert f"--data-binary @{repository}/double/example.json http://127.0.0.1:8080/v2/models/double/infer" in said

    (row,) = (row for row in json.loads(run("list", "--json").stdout) if row["name"] == "double")
    assert (row["takes"], row["folder"]) == ("FP32", str(repository / "double"))
    shown = json.loads(run("show", "double", "--json").stdout)
    assert shown["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]
    assert "double" in run("list").stdout
    assert "FP32" in run("show", "double").stdout

    answer = json.loads(run("predict", "double", "--json").stdout)
    (sent,) = json.loads((repository / "double" / "example.json").read_text())["inputs"]
    assert answer["outputs"][0]["data"] == pytest.approx([2 * number for number in sent["data"]])
    assert "y  FP32 [1]" in run("predict", "double").stdout
    body = tmp_path / "body.json"
    body.write_text('{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}')
    assert "[2.0, 4.0]" in run("predict", "double", body).stdout
    body.write_text('{"inputs": [{"name": "z", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}')
    assert "the function answered 400: " in refusal("predict", "double", body)

    assert all(row["right"] for row in json.loads(run("verify", "double", "--json").stdout))
    assert run("prepare", "double", "--here").stdout.endswith("is up to date\n")
    graph = repository / "double" / "prepared" / "portable" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    run("verify", "double", "--json", status=1)

    run("remove", "double", status=1)  # nobody said yes
    assert "is deleted" in run("remove", "double", "--yes").stdout
    assert list(repository.iterdir()) == []


def test_rows_of_named_columns(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("n\nm\n")
    path = support.save(made_models.echo(), tmp_path / "rows.onnx")
    run("add", path, "--columns", tmp_path / "names.txt", "--size", "values=1x2")
    assert json.loads((repository / "rows" / "example.json").read_text()) == {"instances": [{"n": 0.5, "m": 0.5}]}
    assert json.loads(run("predict", "rows", "--json").stdout)["predictions"]


def test_texts_with_a_tokenizer_beside_the_file(repository: Path, tmp_path: Path) -> None:
    path = support.save(tiny_text.encoder(), tmp_path / "phrases.onnx")
    tiny_text.tokenizer().save(str(tmp_path / "tokenizer.json"))
    said = " ".join(run("add", path).stdout.split())
    assert "takes texts of at most 512 tokens by tokenizer.json and makes an embedding, the mean of its tokens" in said
    assert f"--data-binary @{repository}/phrases/example.json http://127.0.0.1:8080/v1/embeddings" in said
    answer = json.loads(run("predict", "phrases", "--json").stdout)
    (found,) = answer["data"]
    assert len(found["embedding"]) == tiny_text.WIDTH
    assert np.linalg.norm(found["embedding"]) == pytest.approx(1, abs=1e-5)
    assert run("predict", "phrases").stdout.startswith("0: [")


def test_refusals(repository: Path, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal("add", tmp_path / "nothing.onnx")
    assert "neither a model here" in refusal("show", "nothing")
    assert "neither a model here" in refusal("predict", "nothing")
    assert "neither a model here" in refusal("verify", "nothing")
    assert "neither a model here" in refusal("pull", "nothing")
    assert "exclude each other" in refusal("pull", "digits", "--from-file", "x", "--source", "http://127.0.0.1/x")
    assert "does not lie in the repository" in refusal("remove", "digits", "--yes")
    assert "cannot be read" in refusal("predict", "digits", tmp_path / "nothing.json")
    assert "does not answer" in refusal("predict", "digits", "--url", "http://127.0.0.1:1")
    assert (manifest.HERE / "digits" / "model.toml").is_file()
    assert not repository.exists()


def test_doctor(repository: Path) -> None:
    found = {row["what"]: row for row in json.loads(run("doctor", "--json").stdout)}
    assert found["onnxruntime"]["state"] == "ok"
    assert found["repository"]["found"] == str(repository)
    assert "python" in run("doctor").stdout


@pytest.mark.parametrize(
    ("body", "source", "path"),
    [
        (b"\x89PNG..", "x", "/v1/models/a%20b/classify"),
        (b"\xff\xd8..", "x", "/v1/models/a%20b/classify"),
        (b'{"instances": [1]}', "x", "/v1/models/a%20b:predict"),
        (b'{"dataframe_split": {}}', "x", "/v1/models/a%20b:predict"),
        (b"a,b\n1,2\n", "x.csv", "/v1/models/a%20b:predict"),
        (b'{"inputs": [{"name": "x"}]}', "x", "/v2/models/a%20b/infer"),
        (b'{"inputs": [[1]]}', "x", "/v1/models/a%20b/infer"),
        (b'{"image": "x"}', "x", "/v1/models/a%20b/classify"),
    ],
)
def test_a_body_goes_to_its_route(body: bytes, source: str, path: str, tmp_path: Path) -> None:
    model = support.write_folder(tmp_path / "a b", support.doubling())
    assert requests.call(model, body, source).path == path


def test_a_picture_is_an_instance_where_the_models_own_code_reads_it(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "processing.py").write_text("def preprocess(instance): return {}")
    model = support.write_folder(tmp_path / "read", support.doubling())
    call = requests.call(model, b"\x89PNG..", "x")
    assert call == requests.Call("/v1/models/read:predict", b"\x89PNG..", "application/octet-stream")


def test_bodies_that_are_none(tmp_path: Path) -> None:
    model = support.write_folder(tmp_path / "made", support.doubling())
    for body in (b"text", b"[1]"):
        with pytest.raises(ManifestError):
            requests.call(model, body, "here")


def test_a_model_without_an_example_has_the_golden_input(tmp_path: Path) -> None:
    model = support.write_folder(tmp_path / "made", support.mixed())
    document = json.loads(requests.recorded(model).body)
    assert [each["name"] for each in document["inputs"]] == ["flag", "number", "text", "count"]


def test_the_shell_completes_it() -> None:
    environment = {
        **os.environ,
        "_ZEROSERVE_COMPLETE": "complete_bash",
        "COMP_WORDS": "zeroserve pre",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-m", "zeroserve"]
    done = subprocess.run(command, cwd=support.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == {"prepare", "predict"}


def test_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    run("logs", "--since", "soon", status=2)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    assert refusal("logs")  # no region, no credentials: one line


def test_numbers_of_examples_are_numpys(tmp_path: Path, repository: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.float64))
    run("add", support.save(support.doubling(), tmp_path / "d.onnx"), "--example", tmp_path / "x.npy")
    assert json.loads((repository / "d" / "example.json").read_text())["inputs"][0]["data"] == [0, 1, 2, 3]


def test_the_document_names_every_command() -> None:
    page = (support.ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"| `{name}` | " in page
        assert f"`zeroserve {name}" in page
