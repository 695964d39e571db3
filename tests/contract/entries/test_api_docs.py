"""docs/api.md names every route, status and header, and its curl lines give what it says, on both entries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from function.errors import STATUS_OF_CODE
from function.routes import openapi
from function.routes.admin import HEADER
from function.routes.table import ROUTES
from function.settings import VERSION
from models.digits_data import held_out
from tests.contract.entries.servers import ADMIN_KEY, ENTRIES, ROOT, SERVER_PATHS, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
ALL_ROUTES = [(route.method, route.path) for route in ROUTES]


class Command(NamedTuple):
    """A line after `$`, and what the document says that it prints; None: nothing is said."""

    line: str
    output: str


def commands() -> Iterator[Command]:
    for block in re.findall(r"^```console\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE):
        for part in block.removeprefix("$ ").split("\n$ "):
            line, _, output = part.partition("\n")
            yield Command(line, output.rstrip("\n"))


COMMANDS = list(commands())


def rows(heading: str) -> set[str]:
    """The first cells of the table under a heading of its first column."""
    table = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return {line.split("|")[1].strip(" `") for line in table.splitlines()[2:]}


def test_it_names_every_route_and_no_other() -> None:
    assert rows("method and path") == {" ".join(route) for route in ALL_ROUTES}


def test_it_names_every_status_and_no_other() -> None:
    assert rows("status") == {str(status) for status in {200, 201, *STATUS_OF_CODE.values()}}


def test_it_names_every_header_of_the_openapi_document() -> None:
    components = json.loads(openapi.document(VERSION))["components"]
    sent = {each["name"] for each in components["parameters"].values() if each["in"] == "header"}
    assert sent | {HEADER, "Content-Type", "X-Request-Id"} == rows("header of a request")
    assert {*components["headers"], "Content-Type"} == rows("header of an answer")


@pytest.mark.parametrize("route", ALL_ROUTES, ids=" ".join)
def test_every_route_has_a_curl_line(route: tuple[str, str]) -> None:
    method, path = route
    named = path.replace("{model}", "digits").replace("{version}", "1").replace("{view}", "card_stats")
    target = re.escape("$URL" + named)
    lines = [command.line for command in COMMANDS if re.search(rf"{target}(?=$|[\"?])", command.line)]
    posting = (" -d ", " --data-binary ", " -F ")
    assert any(any(each in line for each in posting) == (method == "POST") for line in lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lines are run: with a picture of a three."""
    path = tmp_path_factory.mktemp("curl")
    pictures, labels = held_out()
    (path / "digit.png").write_bytes(pictures[labels.index(3)])
    return path


@pytest.fixture(scope="module")
def urls(digits_prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Both entries over a repository that holds the digits alone."""
    repository = tmp_path_factory.mktemp("digits")
    shutil.copytree(digits_prepared / "digits", repository / "digits")
    with ExitStack() as stack:
        yield {
            entry: "http://" + stack.enter_context(serve(entry, repository, sys.executable, MODEL_NAME="digits"))
            for entry in ENTRIES
        }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("entry", ENTRIES)
def test_the_lines_print_what_the_document_says(urls: dict[str, str], folder: Path, entry: str) -> None:
    environment = {"URL": urls[entry], "ADMIN_KEY": ADMIN_KEY, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", command.line], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command.line, done.stderr)
        if entry == "lambda" and command.line.endswith(tuple(f"$URL{path}" for path in SERVER_PATHS)):
            assert list(json.loads(done.stdout)) == ["error"]
            continue
        pattern = ".*".join(map(re.escape, command.output.split("...")))
        assert re.fullmatch(pattern, done.stdout.rstrip("\n"), re.DOTALL), (command.line, done.stdout[:500])
