"""Preparing while all goes wrong: killed at any moment, a full or read-only disk, a server that loads meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest

from function.engine.registry import Models
from function.errors import PredictError
from function.settings import Settings
from models import files, manifest, prepare, record
from tests import support

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")

# `zeroserve prepare --force FOLDER` that kills itself, as with kill -9, before its Nth change of the disk or
# start of a program; with N = 0 it goes through and prints how many there are. EXCHANGE 0: as on an old file system.
KILLED = """
import os, signal, sys
from unittest.mock import patch
from models import prepare
number, folder, exchange = int(sys.argv[1]), sys.argv[2], sys.argv[3]
seen = 0

def step():
    global seen
    seen += 1
    if seen == number:
        os.kill(os.getpid(), signal.SIGKILL)

def hook(event, arguments):
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "subprocess.Popen"):
        step()
    elif event == "open" and folder in str(arguments[0]) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        step()

real = prepare.exchange

def spy(one, other):
    step()
    done = exchange == "1" and real(one, other)
    step()
    return done

sys.addaudithook(hook)
sys.argv = ["prepare", "--force", folder]
with patch.object(prepare, "exchange", spy):
    prepare.main()
print(seen)
"""


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two versions of the model `tiny`, prepared: other weights, the same tensors."""
    found = {}
    for version in "12":
        folder = tmp_path_factory.mktemp(f"version-{version}") / "tiny"
        support.write_folder(folder, support.classifier(int(version)), support.IMAGE)
        document = folder / "model.toml"
        document.write_text(document.read_text().replace('version = "1"', f'version = "{version}"'))
        support.prepare_natively(manifest.read(folder))
        found[version] = folder
    return found


@pytest.fixture
def model(originals: dict[str, Path], tmp_path: Path) -> Path:
    """Version 1 as prepared, with the raw files of version 2, which are to be prepared now."""
    folder = tmp_path / "models" / "tiny"
    shutil.copytree(originals["1"], folder)
    for name in ("model.onnx", "model.toml"):
        shutil.copy(originals["2"] / name, folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_at(number: int, folder: Path, *, exchange: bool = True) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": ""}  # no qemu
    command = [sys.executable, "-c", KILLED, str(number), str(folder), str(int(exchange))]
    return subprocess.run(command, capture_output=True, text=True, cwd=support.ROOT, env=environ, check=False)


@pytest.mark.parametrize("exchange", [True, False])
def test_killed_at_any_moment_it_leaves_the_old_the_new_or_nothing(
    model: Path, originals: dict[str, Path], tmp_path: Path, exchange: bool
) -> None:
    old, new = (content(originals[version] / "prepared") for version in "12")
    spare = Path(shutil.copytree(model.parent, tmp_path / "spare" / "models")) / "tiny"
    whole = kill_at(0, spare, exchange=exchange)
    assert whole.returncode == 0, whole.stderr
    total = int(whole.stdout.splitlines()[-1])
    assert total > 10
    # The last ones are the exchange and what is cleared away behind it.
    moments = [1, total // 4, total // 2, *range(total - 16, total + 1, 2 if exchange else 1)]
    seen = set()
    for number in moments:
        assert kill_at(number, model, exchange=exchange).returncode == -signal.SIGKILL
        found = content(model / "prepared") if (model / "prepared").exists() else {}
        assert found in ([old, new] if exchange else [old, new, {}]), f"at {number} of {total}"
        seen.add("old" if found == old else "new" if found else "nothing")
        if number != moments[-1]:  # begin again where the others did
            for path in (model / "prepared", *model.glob(".prepare-*")):
                shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(originals["1"] / "prepared", model / "prepared")
    assert {"old", "new"} <= seen
    support.prepare_natively(manifest.read(model), force=True)
    assert content(model / "prepared") == new
    assert not list(model.glob(".prepare-*"))


def test_a_build_that_outlives_its_killed_parent_is_waited_for(model: Path, originals: dict[str, Path]) -> None:
    """Its child goes on writing: the next one must not clear away its folder under it, nor be disturbed by it."""
    command = [sys.executable, "-m", "models.prepare", "--force", str(model)]
    process = subprocess.Popen(command, cwd=support.ROOT, stderr=subprocess.DEVNULL, env={**os.environ, "PATH": ""})
    until = time.monotonic() + 60
    while not list(model.glob(".prepare-*/prepared/*")):
        assert time.monotonic() < until
        time.sleep(0.005)
    process.kill()
    process.wait()
    support.prepare_natively(manifest.read(model), force=True)
    assert content(model / "prepared") == content(originals["2"] / "prepared")
    assert not list(model.glob(".prepare-*"))


def test_no_prepared_file_is_written_in_place(model: Path) -> None:
    """What is mapped stays as it was: every file is another one afterwards."""
    opened = {path: path.open("rb") for path in (model / "prepared").rglob("*") if path.is_file()}
    before = {path: (path.stat().st_ino, file.read()) for path, file in opened.items()}
    support.prepare_natively(manifest.read(model), force=True)
    for path, file in opened.items():
        inode, was = before[path]
        assert path.stat().st_ino != inode
        file.seek(0)
        assert file.read() == was
        file.close()


def test_all_is_on_the_disk_before_it_gets_its_name(model: Path) -> None:
    synced: set[tuple[int, int]] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.add((status.st_dev, status.st_ino))
        real(descriptor)

    def spy(one: Path, other: Path) -> bool:
        for path in one.rglob("*"):
            assert (path.stat().st_dev, path.stat().st_ino) in synced, path
        return files.exchange(one, other)

    with patch("os.fsync", fsync), patch("models.prepare.exchange", spy):
        support.prepare_natively(manifest.read(model), force=True)


def test_a_model_replaced_while_it_serves(model: Path, originals: dict[str, Path], tmp_path: Path) -> None:
    """Loaded anew all the time while its folder is replaced: each answer is the one of the version that it says."""
    picture = {"input": support.picture()}

    def load(repository: Path) -> tuple[str, NDArray[np.float32]]:
        loaded = Models(Settings({"MODEL_REPOSITORY": str(repository)})).get("tiny")
        return loaded.metadata.version, support.logits(loaded.run(picture)).copy()

    expected = dict(load(folder.parent) for folder in originals.values())
    assert not np.allclose(expected["1"], expected["2"])
    stop, problems = threading.Event(), []
    seen, refused = set(), set()

    def ask() -> None:
        while not stop.is_set():
            try:
                version, got = load(model.parent)
            except PredictError as error:
                refused.add((error.code, error.message.partition("tiny")[0]))
                continue
            except Exception as error:  # noqa: BLE001  (told by the thread that waits)
                problems.append(repr(error))
                return
            seen.add(version)
            if not np.allclose(got, expected[version], atol=1e-5):
                problems.append(f"version {version} answered {got}")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    until, swaps = time.monotonic() + 60, 0
    while (swaps < 60 or len(seen) < 2) and not problems and time.monotonic() < until:
        new = tmp_path / f"new-{swaps}"
        shutil.copytree(originals["12"[swaps % 2]] / "prepared", new)
        prepare._replace(model / "prepared", new, tmp_path / f"old-{swaps}")
        shutil.rmtree(new, ignore_errors=True)
        swaps += 1
        if swaps % 5 == 0:
            time.sleep(0.05)  # now and then a load has the time to end
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert seen == {"1", "2"}
    assert {code for code, _ in refused} <= {"UNAVAILABLE"}


# --- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models.prepare", "--force", str(folder)]
    environ = {**os.environ, "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, cwd=support.ROOT, env=environ, check=False)


def assert_one_line(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr


@root_only
@pytest.mark.parametrize("left", [0, 8, 16, 24])
def test_a_full_disk_is_one_line_and_the_old_artifacts_stay(model: Path, disk: Path, left: int) -> None:
    folder = Path(shutil.copytree(model, disk / "tiny"))
    before = content(folder)
    with (disk / "filler").open("wb") as filler:
        free = shutil.disk_usage(disk).free - left * 1024
        filler.write(bytes(max(0, free)))
    done = run(folder)
    assert_one_line(done)
    assert content(folder) == before
    (disk / "filler").unlink()
    assert run(folder).returncode == 0
    assert all(record.problem(path) is None for path in (folder / "prepared").glob("*/"))
    assert json.loads((folder / "prepared/model.json").read_bytes())["version"] == "2"


@root_only
def test_a_read_only_disk_is_one_line(model: Path, disk: Path) -> None:
    folder = Path(shutil.copytree(model, disk / "tiny"))
    before = content(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = run(folder)
    assert_one_line(done)
    assert "Read-only file system" in done.stderr
    assert content(folder) == before
    assert Models(Settings({"MODEL_REPOSITORY": str(disk)})).get("tiny").metadata.version == "1"  # it still serves
