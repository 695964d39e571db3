"""The container image: really built over a stand-in base of Debian packages, and run read-only by its own user."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.image import build_command
from models.digits_data import held_out

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(not os.environ.get("TEST_IMAGE"), reason="opt-in: make test-image (root, Debian, 2 minutes)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mounts need root"),
]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OWN_LAYERS_LIMIT = 80_000_000
# libstdc++ and certificates are in any slim Python image; Debian's minimal set leaves them out.
PACKAGES = "python3,python3-pip,ca-certificates,libstdc++6"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    root: Path  # its file system, mounted
    config: dict[str, Any]
    layers: list[int]  # bytes, compressed, the base's first


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, digits_prepared: Path) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    buildah = ["buildah", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
    run("mmdebstrap", "--variant=essential", f"--include={PACKAGES}", "bookworm", folder / "base.tar")
    base = run(*buildah, "from", "scratch")
    run(*buildah, "add", "-q", base, folder / "base.tar", "/")
    run(*buildah, "commit", "-q", base, "localhost/stand-in")
    build = build_command(["buildah"], "digits", base_image="localhost/stand-in", tag="zeroserve-test")
    run(*buildah, *build[1:])
    container = run(*buildah, "from", "zeroserve-test")
    run(*buildah, "push", "-q", "zeroserve-test", f"oci:{folder}/pushed")
    index = json.loads((folder / "pushed" / "index.json").read_text())
    manifest = folder / "pushed" / "blobs" / "sha256" / index["manifests"][0]["digest"].removeprefix("sha256:")
    layers = [layer["size"] for layer in json.loads(manifest.read_text())["layers"]]
    config = json.loads(run(*buildah, "inspect", "--type", "image", "zeroserve-test"))["Docker"]["config"]
    try:
        yield Image(Path(run(*buildah, "mount", container)), config, layers)
    finally:
        run(*buildah, "umount", container)
        shutil.rmtree(folder)


class Container:
    """The image started as its configuration says: user, environment, entry; its root read-only but for /tmp.

    It has a network of its own, so that its fixed ports meet nobody's.
    """

    def __init__(self, image: Image, *command: str) -> None:
        environment = [*image.config["Env"], "PATH=/usr/local/bin:/usr/bin:/bin"]
        script = [
            'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"',
            'mount -t tmpfs tmpfs "$0/tmp" && mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev"',
            "ip link set lo up",
            'user=$1; shift; exec chroot --userspec="$user" "$0" "$@"',
        ]
        inside = ["/usr/bin/env", "-i", "-C", image.config["WorkingDir"], *environment]
        start = ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-ec", "\n".join(script)]
        entry = [*image.config["Entrypoint"], *(command or image.config["Cmd"])]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the container)
        self._process = subprocess.Popen(
            [*start, str(image.root), image.config["User"], *inside, *entry],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._inside, self._root = inside, image.root

    def __enter__(self) -> Container:
        deadline = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline:
            if self.enter("/entry.sh", "health").returncode == 0:
                return self
            time.sleep(0.2)
        self.__exit__()
        raise AssertionError("the container did not become healthy")

    def __exit__(self, *_: object) -> None:
        if pid := self._first_process():
            os.kill(pid, signal.SIGKILL)  # the kernel ends the others with the first one of their namespace
        self._process.wait(10)
        self._log.seek(0)
        print(self._log.read().decode())
        self._log.close()

    def _first_process(self) -> int | None:
        """The container's process 1, a child of unshare."""
        try:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        except FileNotFoundError:
            return None
        return int(children[0]) if children else None

    def enter(self, *command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs one more program in the container, as its user."""
        pid = self._first_process()
        if pid is None:
            return subprocess.CompletedProcess(command, 1, b"", b"it has ended")
        enter = ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "chroot", "--userspec=65532:65532"]
        full = [*enter, str(self._root), *self._inside, *command]
        return subprocess.run(full, input=data, capture_output=True, timeout=60, check=False)

    def python(self, script: str, data: bytes = b"") -> Any:
        """What a Python script, run inside, prints as JSON."""
        done = self.enter("python3", "-c", script, data=data)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)


CLASSIFY = """
import base64, http.client, json, sys
picture = sys.stdin.buffer.read()
connection = http.client.HTTPConnection("127.0.0.1", 8080)
if {emulator}:
    event = {{"version": "2.0", "rawPath": "/classify", "rawQueryString": "", "isBase64Encoded": True,
             "headers": {{"content-type": "image/png"}}, "body": base64.b64encode(picture).decode(),
             "requestContext": {{"http": {{"method": "POST", "path": "/classify"}}}}}}
    connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
    answer = json.loads(connection.getresponse().read())["body"]
else:
    connection.request("POST", "/classify", picture)
    answer = connection.getresponse().read()
print(answer if isinstance(answer, str) else answer.decode())
"""


@pytest.mark.parametrize("command", [(), ("serve",)], ids=["emulator", "serve"])
def test_a_digit_is_classified_over_http(image: Image, command: tuple[str, ...]) -> None:
    contents, labels = held_out()
    with Container(image, *command) as container:
        for digit in range(3):
            picture = contents[labels.index(digit)]
            answer = container.python(CLASSIFY.format(emulator=not command), picture)
            assert answer["predictions"][0]["label"] == str(digit)


def test_its_processes_have_no_rights_and_nothing_to_write_to_but_tmp(image: Image) -> None:
    script = """
import json, os, pathlib
def writable(folder):
    try:
        pathlib.Path(folder, "probe").write_text("")
        return True
    except OSError:
        return False
owners = {path.stat().st_uid for path in pathlib.Path("/proc").glob("[0-9]*")}
print(json.dumps({"user": os.getuid(), "owners": sorted(owners), "writable": [f for f in
    ("/", "/var/task", "/opt/python", "/opt/runtime", "/usr/local/bin", "/tmp") if writable(f)]}))
"""
    with Container(image, "serve") as container:
        assert container.python(script) == {"user": 65532, "owners": [65532], "writable": ["/tmp"]}


def test_it_has_no_build_tools_no_pip_and_no_numpy(image: Image) -> None:
    programs = [*image.root.glob("usr/bin/*"), *image.root.glob("usr/local/bin/*")]
    names = {path.name for path in programs}
    assert names & {"pip", "pip3", "gcc", "cc", "make", "ld"} == set()
    modules = "[n for n in ('pip', 'setuptools', 'numpy', 'onnxruntime.capi.onnxruntime_pybind11_state') if found(n)]"
    script = f"""
import importlib, json
def found(name):
    try:
        return bool(importlib.import_module(name))
    except ImportError:
        return False
print(json.dumps({modules}))
"""
    with Container(image, "serve") as container:
        assert container.python(script) == []


def test_every_module_has_unchecked_byte_code(image: Image) -> None:
    for folder in ("var/task/function", "opt/python", "opt/runtime"):
        sources = list((image.root / folder).rglob("*.py"))
        assert sources
        for source in sources:
            (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
            assert compiled.read_bytes()[4:8] == b"\1\0\0\0", source


def test_configuration(image: Image) -> None:
    assert image.config["User"] == "65532:65532"
    assert image.config["Labels"]["com.amazonaws.lambda.feature.snapstart"] == "Allow"
    assert image.config["Labels"]["org.opencontainers.image.title"] == "zeroserve"
    assert image.config["Healthcheck"]["Test"] == ["CMD", "/entry.sh", "health"]


def test_own_layers_are_small(image: Image) -> None:
    own = sum(image.layers[1:])
    print(f"own layers over the base: {own / 1e6:.1f} MB compressed", file=sys.stderr)
    assert 0 < own <= OWN_LAYERS_LIMIT
