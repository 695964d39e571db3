"""Clients of other languages and tools, unmodified and with their default settings, each classify a digit over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bench import servers
from models import digits_data, manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.peers.launch import Server

PROGRAMS = Path(__file__).parent / "clients"
PATIENCE = 180.0  # seconds; Go compiles first


@pytest.fixture(scope="module")
def server(digits_prepared: Path) -> Iterator[Server]:
    with servers.zeroserve(manifest.read(digits_prepared / "digits")) as running:
        yield running


class Digit(NamedTuple):
    """A held-out digit as a PNG file, and which one it is."""

    path: Path
    label: str

    def check(self, body: str) -> None:
        assert json.loads(body)["predictions"][0]["label"] == self.label

    def check_lines(self, out: str, count: int) -> None:
        """Each line is a status and a body, and each says which digit it is."""
        lines = [line for line in out.splitlines() if line.strip()]
        assert len(lines) == count, out
        for line in lines:
            status, _, body = line.partition(" ")
            assert status == "200", out
            self.check(body)


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Digit:
    pictures, labels = digits_data.held_out()
    path = tmp_path_factory.mktemp("digit") / "digit.png"
    path.write_bytes(pictures[0])
    return Digit(path, str(labels[0]))


def tool(*names: str) -> str:
    """The first of these programs that is on this machine; else the test is skipped."""
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


def run(*argv: str, given: bytes = b"", env: dict[str, str] | None = None) -> str:
    """What the program printed; it has to end well."""
    ended = subprocess.run(
        argv, input=given, capture_output=True, timeout=PATIENCE, check=False, env={**os.environ, **(env or {})}
    )
    out = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, out + ended.stderr.decode(errors="replace")
    return out


@pytest.mark.parametrize("option", ["--http1.0", "--http1.1", "--http2"])
def test_curl(server: Server, digit: Digit, option: str) -> None:
    curl = tool("curl")
    if option == "--http2" and "HTTP2" not in run(curl, "--version"):
        pytest.skip("this curl has no HTTP/2")
    written = "\n%{http_code}"
    out = run(curl, "-s", option, "-w", written, "--data-binary", f"@{digit.path}", f"{server.url}/classify")
    body, _, status = out.rpartition("\n")
    assert status == "200", out
    digit.check(body)


def test_java(server: Server, digit: Digit) -> None:
    java = tool("java")
    digit.check_lines(run(java, str(PROGRAMS / "Classify.java"), f"{server.url}/classify", str(digit.path)), 3)


def test_node(server: Server, digit: Digit) -> None:
    node = tool("node", "nodejs")
    if int(run(node, "--version").lstrip("v").split(".")[0]) < 18:
        pytest.skip("this Node has no fetch")
    digit.check_lines(run(node, str(PROGRAMS / "classify.mjs"), f"{server.url}/classify", str(digit.path)), 3)


def test_go(server: Server, digit: Digit) -> None:
    go = tool("go", "/usr/local/go/bin/go")
    env = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}
    digit.check_lines(
        run(go, "run", str(PROGRAMS / "classify.go"), f"{server.url}/classify", str(digit.path), env=env), 2
    )


def test_nc_with_half_close(server: Server, digit: Digit) -> None:
    nc = tool("nc")
    # OpenBSD's half-closes at the end of its input with -N, GNU's with -c; the traditional one cannot.
    words = subprocess.run([nc, "-h"], capture_output=True, check=False)
    text = (words.stdout + words.stderr).decode(errors="replace")
    option = "-N" if re.search(r"-N\b", text) else "-c" if "--close" in text else ""
    if not option:
        pytest.skip("this nc cannot half-close")
    host, _, port = server.url.removeprefix("http://").partition(":")
    picture = digit.path.read_bytes()
    head = f"POST /classify HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(picture)}\r\n\r\n"
    out = run(nc, option, host, port, given=head.encode() + picture)
    top, _, body = out.partition("\r\n\r\n")
    assert top.startswith("HTTP/1.1 200"), out
    digit.check(body)


@pytest.mark.parametrize("options", [(), ("-k",)], ids=["closing", "keep-alive"])
def test_ab(server: Server, digit: Digit, options: tuple[str, ...]) -> None:
    ab = tool("ab")
    out = run(ab, "-n", "60", "-c", "4", *options, "-T", "image/png", "-p", str(digit.path), f"{server.url}/classify")
    assert re.search(r"Complete requests:\s+60\b", out), out
    assert re.search(r"Failed requests:\s+0\b", out), out
    assert "Non-2xx" not in out, out
