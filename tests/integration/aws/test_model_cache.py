"""MODEL_CACHE in the way of others: nothing is believed of a folder that somebody else could have filled."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from function.engine.model_store import ModelStore
from function.settings import Settings
from models import manifest, publish
from tests.contract.client import Client, http_event, new_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.aws.servers import Proxy

ROOT = Path(__file__).parents[3]
PNG = base64.b64decode(json.loads((ROOT / "tests/events/function_url_base64.json").read_text())["body"])
NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away or mount")


@pytest.fixture
def planted(digits_prepared: Path, tmp_path: Path) -> dict[str, str]:
    """A cache that is already filled, as its first user would, for a function that cannot reach S3."""
    variables = {
        "MODEL_URI": "s3://bucket/models/digits/1/",
        "MODEL_CACHE": str(tmp_path / "cache"),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    folder = folders(variables)[-1]
    folder.parent.mkdir(parents=True, mode=0o755)
    shutil.copytree(digits_prepared / "digits/prepared", folder)
    for each in folders(variables):
        each.chmod(0o755)
    return variables


def folders(variables: dict[str, str]) -> list[Path]:
    """Of the cache, from the outside in."""
    prepared = Path(ModelStore(Settings(variables | {"MODEL_NAME": "digits"})).folder)
    return [prepared.parents[2], prepared.parents[1], prepared.parent, prepared]


def give_away(folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)


def let_the_group_write(folder: Path) -> None:
    folder.chmod(0o775)


def let_all_write(folder: Path) -> None:
    folder.chmod(0o1777)


def link(folder: Path) -> None:
    elsewhere = folder.with_name(folder.name + "-elsewhere")
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


def put_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"")


FAULTS: dict[Callable[[Path], None], str] = {
    give_away: r"belongs to another user (uid 65534",
    let_the_group_write: "can be written by others (mode 0775",
    let_all_write: "can be written by others (mode 1777",
    link: "is a symbolic link",
    put_a_file: "is not a folder",
}


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A model repository without a model."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def test_a_cache_of_our_own_serves(planted: dict[str, str], empty: Path) -> None:
    """What the others differ from in one thing."""
    function = new_client(empty, **planted)
    assert function.get("/ready").status == 200
    assert function.post("/classify", PNG).status == 200


@root_only
@pytest.mark.parametrize("level", range(4), ids=["cache", "uri", "model", "prepared"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.__name__))
def test_a_folder_that_others_could_have_filled(
    planted: dict[str, str], empty: Path, fault: Callable[[Path], None], level: int
) -> None:
    folder = folders(planted)[level]
    fault(folder)
    function = new_client(empty, **planted)
    for answer in (
        function.get("/v2/models/digits"),
        function.get("/v2/models/digits/ready"),
        function.post("/classify", PNG),
    ):
        assert answer.status == 503, answer.body
        assert f"{folder} {FAULTS[fault]}" in answer.error
        assert "remove it, or set MODEL_CACHE to a folder of your own" in answer.error
    assert function.get("/ready").status == 503
    assert function.get("/health").status == 200


def test_a_link_with_a_slash_behind_it_is_still_a_link(planted: dict[str, str], empty: Path) -> None:
    link(folders(planted)[0])
    planted["MODEL_CACHE"] += "/"
    assert "is a symbolic link" in new_client(empty, **planted).post("/classify", PNG).error


@pytest.fixture
def published(
    digits_prepared: Path, bucket: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The digits in S3, and the variables of a function that serves them from there."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, variables[name])
    monkeypatch.setenv("AWS_DEFAULT_REGION", variables["AWS_REGION"])
    return variables | {"MODEL_URI": publish.publish(manifest.read(manifest.folder_of("digits")), f"s3://{bucket}/m")}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_what_is_made_is_ours_alone_whatever_the_umask(published: dict[str, str], empty: Path) -> None:
    assert new_client(empty, **published).post("/classify", PNG).status == 200
    assert [stat.S_IMODE(each.stat().st_mode) for each in folders(published)] == [0o700] * 4
    assert new_client(empty, **published).post("/classify", PNG).status == 200


def test_a_document_that_was_damaged_is_fetched_again(published: dict[str, str], empty: Path) -> None:
    """An empty one, as a power cut leaves it."""
    right = new_client(empty, **published).post("/classify", PNG)
    (folders(published)[-1] / "model.json").write_bytes(b"")
    function = new_client(empty, **published)
    refused = function.post("/classify", PNG)
    assert refused.status == 503
    assert "the next request tries again" in refused.error
    assert function.post("/classify", PNG).body == right.body


ASK = """
import json, sys
from function.handler import handler
print(json.dumps(handler(json.load(sys.stdin), None)["statusCode"]))
"""


def test_killed_in_a_fetch_the_next_process_fetches_whole(
    published: dict[str, str], empty: Path, proxy: Proxy, digits_prepared: Path
) -> None:
    """kill -9 while the weights come: neither the lock nor the half of them is in anybody's way."""
    coming, stop = threading.Event(), threading.Event()

    def dribble(body: bytes) -> Iterator[bytes]:
        yield body[: len(body) // 2]
        coming.set()
        stop.wait(60)

    def slow(_method: str, path: str, body: bytes) -> Any:
        return dribble(body) if path.endswith("weights.bin") and not coming.is_set() else body

    proxy.misbehave = slow
    published |= {"AWS_ENDPOINT_URL": proxy.url}
    event = json.dumps(http_event("function_url", "POST", "/classify", PNG)).encode()
    environ = os.environ | published | {"MODEL_REPOSITORY": str(empty), "MODEL_NAME": "digits"}
    with subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, cwd=ROOT, env=environ) as process:
        assert process.stdin is not None
        process.stdin.write(event)
        process.stdin.close()
        assert coming.wait(60)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    stop.set()
    cache = folders(published)[0]
    assert any(".part" in path.name for path in cache.rglob("*"))
    right = new_client(digits_prepared).post("/classify", PNG)
    assert new_client(empty, **published).post("/classify", PNG).body == right.body
    assert not any(".part" in path.name for path in cache.rglob("*"))


def test_fetched_again_it_is_another_file(published: dict[str, str], empty: Path) -> None:
    """A process that has the old one mapped goes on with it."""
    new_client(empty, **published).post("/classify", PNG)
    before = {path: path.stat().st_ino for path in folders(published)[-1].rglob("*") if path.is_file()}
    opened = [path.open("rb") for path in before]  # so that no inode is used again
    ModelStore(Settings(published | {"MODEL_NAME": "digits"})).discard()
    assert new_client(empty, **published).post("/classify", PNG).status == 200
    assert all(path.stat().st_ino != inode for path, inode in before.items())
    for file in opened:
        file.close()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Makes a folder a read-only file system."""
    mounted: list[Path] = []

    def make(folder: Path) -> None:
        for options in ("--bind", "remount,ro,bind"):
            command = ["mount", *(["-o", options] if "," in options else [options])]
            done = subprocess.run([*command, str(folder), str(folder)], capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
            if folder not in mounted:
                mounted.append(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@root_only
def test_a_read_only_disk(
    published: dict[str, str], empty: Path, read_only: Callable[[Path], None], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    read_only(disk)
    function = new_client(empty, **published | {"MODEL_CACHE": str(disk / "cache")})
    for _ in range(2):
        answer = function.post("/classify", PNG)
        assert answer.status == 503
        assert "Read-only file system" in answer.error
        assert "set MODEL_CACHE to a folder that this process can make and write to" in answer.error
        assert "\n" not in answer.error


@root_only
def test_a_filled_cache_on_a_read_only_disk_serves(
    planted: dict[str, str], empty: Path, read_only: Callable[[Path], None]
) -> None:
    read_only(folders(planted)[0])
    assert new_client(empty, **planted).post("/classify", PNG).status == 200


def test_a_cache_without_permission_names_the_mend(published: dict[str, str], empty: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    function: Client = new_client(empty, **published | {"MODEL_CACHE": str(tmp_path / "file" / "cache")})
    answer: Any = function.post("/classify", PNG)
    assert answer.status == 503
    assert "set MODEL_CACHE to a folder" in answer.error
