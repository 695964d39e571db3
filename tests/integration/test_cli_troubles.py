"""What goes wrong for people at a terminal: Ctrl-C, folders that are read-only, two at once, odd names, no network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from infra import requests, wheel
from infra import serve as server
from layer import stage, wheels
from models import manifest, places
from models.adding import place
from models.adding.add import Wishes, add
from models.adding.words import AddError
from tests import support
from tests.integration import command
from tests.integration.command import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOWHERE = "/sys/zeroserve/models"  # below a folder in which nobody can make one, not even root


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    monkeypatch.setenv("MODEL_REPOSITORY", str(folder))
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return support.save(support.doubling(), tmp_path / "double.onnx")


def refusal(*arguments: object) -> str:
    """The same, in words and not as a number."""
    line = command.refusal(*arguments)
    assert "[Errno" not in line
    return line


def started(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    """The command as a terminal starts it: Ctrl-C goes to all of its processes."""
    return subprocess.Popen(
        [sys.executable, "-m", "zeroserve", *map(str, arguments)],
        cwd=support.ROOT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def interrupted(process: subprocess.Popen[str], when: Callable[[], bool]) -> str:
    """Ctrl-C as soon as `when` is true; what it then said on stderr."""
    deadline = time.monotonic() + 60
    while not when() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return said


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_nothing_of_add(repository: Path, file: Path) -> None:
    said = interrupted(started("add", file), repository.exists)
    assert said == "stopped\n"
    assert not repository.exists()


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_what_was_prepared_before(repository: Path, file: Path) -> None:
    model = add(file, repository, Wishes()).model
    before = {path: path.read_bytes() for path in model.folder.rglob("*") if path.is_file()}
    process = started("prepare", "double", "--force")
    said = interrupted(process, lambda: any(model.folder.glob(".prepare-*")))
    assert said.splitlines()[-1] == "stopped"
    assert {path: path.read_bytes() for path in model.folder.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_the_command_itself_is_being_read(tmp_path: Path) -> None:
    """A library that turns it into an error of its own; the same line."""
    program = (
        "import os, signal, sys; sys.path.insert(0, os.getcwd()); from zeroserve import __main__ as command\n"
        "def broken():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        signal.pause()\n"
        "    except KeyboardInterrupt:\n        raise ImportError('initialization failed')\n"
        "command._run = broken\ncommand.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=support.ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_a_repository_that_cannot_be_written(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODEL_REPOSITORY", NOWHERE)
    line = refusal("add", file)
    assert line.startswith(f"error: the repository {NOWHERE} cannot be written: ")
    assert line.endswith("; set MODEL_REPOSITORY to one of yours")
    monkeypatch.setenv("MODEL_REPOSITORY", str(file))
    assert f"the repository {file} cannot be written: File exists" in refusal("add", file)


def test_what_the_disk_refuses_is_said_with_the_mend(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    def refuse(number: int) -> Callable[[], list[str]]:
        def names() -> list[str]:
            raise OSError(number, os.strerror(number), "/some/where")

        return names

    monkeypatch.setattr(manifest, "names", refuse(30))
    mend = "set MODEL_REPOSITORY (models), or XDG_CACHE_HOME (what is fetched), to a folder of yours"
    assert refusal("list") == f"error: /some/where: Read-only file system; {mend}"
    monkeypatch.setattr(manifest, "names", refuse(28))
    assert refusal("list") == "error: /some/where: No space left on device; make room there"


def test_a_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models that come with an installed package can be looked at all the same."""
    monkeypatch.setattr(places, "CHECKOUT", False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/sys/zeroserve")
    assert places.embedded("digits") == places.EMBEDDED / "digits"


def test_two_adds_of_one_name(repository: Path, file: Path) -> None:
    """Both are under way before either is done: one wins, the other says that it is there."""
    both = threading.Barrier(2)

    def one(path: Path) -> str:
        waited = False

        def step(name: str) -> None:
            nonlocal waited
            if name.startswith("comparing") and not waited:
                waited = True
                both.wait(60)

        try:
            return str(add(path, repository, Wishes(), step).model.folder)
        except AddError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(one, [file, file]), key=len)
    folder = repository / "double"
    assert said == [str(folder), f"{folder} is there already; take another --name, or run: zeroserve remove double"]
    assert list(repository.iterdir()) == [folder]
    assert run("verify", "double")


def test_a_refusal_beside_an_add_that_goes_well(repository: Path) -> None:
    """The one that is refused made the repository, and leaves it to the other."""

    def both() -> None:
        with place.new_folder(repository, "bad"):
            with place.new_folder(repository, "good"):
                pass
            raise AddError("it cannot be served")

    with pytest.raises(AddError, match="cannot be served"):
        both()
    assert [path.name for path in repository.iterdir()] == ["good"]


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", ".hidden", "-dash", " ", " a", "a ", "new\nline", "x" * 300, "\udcff", "a\0b"]
)
def test_names_that_are_refused(name: str, repository: Path, file: Path) -> None:
    with pytest.raises(AddError) as caught:
        add(file, repository, Wishes(name=name))
    message = str(caught.value)
    assert "1 to 63 printable characters without '/' are expected" in message
    assert len(message) < 300
    assert not repository.exists()


@pytest.mark.parametrize(
    "name", ["a b", "ümläut", "模" * 63, "a:b", "a%20b", "a?b#c", "q\"uote'", "back\\slash", "$(id)"]
)
def test_names_that_are_odd(name: str, repository: Path, file: Path) -> None:
    found = add(file, repository, Wishes(name=name)).model
    assert found.name == name
    assert "y  FP32" in run("predict", name).stdout
    (line,) = requests.curl_lines(found, "http://127.0.0.1:1")
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True)
    assert f"@{repository / name / 'example.json'}" in done.stdout.splitlines()  # as one word, whatever is in it
    assert "is deleted" in run("remove", name, "--yes").stdout


@pytest.mark.parametrize("name", ["x" * 300, "..", ".", "a/../..", "no such one", ""])
def test_models_that_are_not_there(name: str, repository: Path) -> None:
    assert "is neither a model here" in refusal("predict", name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("weird name ü.onnx", "weird-name"), ("模型.onnx", "model"), ("x" * 240 + ".onnx", "x" * 63), ("-x.onnx", "x")],
)
def test_names_of_files_that_are_odd(name: str, expected: str, tmp_path: Path, repository: Path) -> None:
    path = support.save(support.doubling(), tmp_path / name)
    assert add(path, repository, Wishes()).model.name == expected


def served(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[str, str]:
    """The model that `serve` would serve, and what it says on stderr."""
    found = []
    monkeypatch.setattr(server, "become_server", lambda model, port: found.append(model.name))
    said = run("serve", *arguments, "--port", "0").stderr
    return found[0], said


def test_serve_without_a_name(repository: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, said = served(monkeypatch)
    assert name == "digits"
    assert "no model is named; taking digits, which comes with zeroserve; for one of yours: zeroserve add" in said
    add(file, repository, Wishes(name="only one"))
    name, said = served(monkeypatch)
    assert (name, said.splitlines()[-1]) == ("only one", "no model is named; taking only one, your only one")
    assert served(monkeypatch, "digits")[0] == "digits"
    add(file, repository, Wishes(name="another"))
    assert refusal("serve") == "error: 2 models are here: another, only one; say which: zeroserve serve another"
    assert refusal("run") == "error: 2 models are here: another, only one; say which: zeroserve run another"


def test_the_models_that_come_along_are_nobodys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_REPOSITORY", raising=False)
    assert not set(manifest.own_names()) & {"digits", "fraud", "mobilenetv2"}
    assert set(manifest.names()) >= set(places.SHIPPED)
    for name in places.SHIPPED:
        assert "comes with zeroserve" in refusal("remove", name, "--yes")
        assert (places.EMBEDDED / name / "model.toml").is_file()


def test_a_json_reader_that_is_missing_is_said_so_that_it_can_be_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert stage.missing_kernels(tmp_path, ["arm64"])[0].endswith("many times slower; run: make kernels")
    monkeypatch.setattr(places, "CHECKOUT", False)
    (line,) = stage.missing_kernels(tmp_path, ["arm64"])
    assert line.endswith(
        "deploy for another architecture, or install a wheel of zeroserve that was built after `make kernels`"
    )


def test_the_wheel_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "missing_kernels", lambda _: ["no JSON reader in C for arm64; run: make kernels"])
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "made.whl").touch()
    monkeypatch.setattr(wheel, "build_wheel", lambda _: "made.whl")
    monkeypatch.setattr(wheel, "ROOT", tmp_path)
    assert wheel.main() == 0
    assert capsys.readouterr().out.startswith("no JSON reader in C for arm64; run: make kernels, then build it again\n")


def test_without_a_network_package_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wheels, "CACHE", tmp_path / "wheels")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")  # where nobody listens
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(wheels.WheelError) as caught:
        wheels.fetch(["pybase64"], support.ROOT / "requirements" / "function.txt", "x86_64", "3.13")
    message = str(caught.value)
    assert "pip could not fetch the wheels for x86_64, Python 3.13: no network (Connection refused)" in message
    assert f"kept in {tmp_path / 'wheels'}; mend it, then run the same command again" in message
    assert "\n" not in message
    assert wheels._reason("/usr/bin/python: No module named pip").endswith("-m ensurepip")
    assert wheels._reason("WARNING: a\nERROR: THE HASHES DO NOT MATCH\nand so on") == "THE HASHES DO NOT MATCH"
    assert wheels._reason("") == "it said nothing"
