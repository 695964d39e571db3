"""infra.image: what a built image is called, by the real buildah, and by docker's answers as its API documents them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from function.settings import VERSION
from infra import image
from infra.rie import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ID, DIGEST = "sha256:" + "1d" * 32, "sha256:" + "d1" * 32


def test_a_base_image_by_digest_reaches_the_build() -> None:
    base = f"docker.io/library/python:3.13-slim@{DIGEST}"
    assert f"BASE_IMAGE={base}" in image.build_command(["docker"], "digits", base_image=base)


def test_the_images_version_is_the_functions() -> None:
    assert f"\nARG VERSION={VERSION}\n" in (ROOT / "infra" / "Dockerfile").read_text()


@pytest.mark.skipif(not shutil.which("buildah") or os.geteuid() != 0, reason="needs buildah, and root for it")
def test_buildah_names_the_id_and_no_digest_that_changes_in_the_push(tmp_path: Path) -> None:
    folders = ["--root", f"{tmp_path}/root", "--runroot", f"{tmp_path}/run", "--storage-driver", "vfs"]
    tool = ["buildah", *folders]

    def run(*arguments: str) -> str:
        done = subprocess.run([*tool, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    base = run("from", "scratch")
    run("config", "--label", "made=here", base)
    run("commit", "-q", base, "zeroserve:made")
    try:
        named = image.identity(tool, "zeroserve:made")
        run("push", "-q", "zeroserve:made", f"dir:{tmp_path}/pushed")
        manifest = json.loads((tmp_path / "pushed" / "manifest.json").read_text())
        assert named == f"image ID {manifest['config']['digest']}"
        with pytest.raises(image.ImageError, match="zeroserve:none was built, but buildah cannot show it"):
            image.identity(tool, "zeroserve:none")
    finally:
        run("rm", base)


@pytest.mark.parametrize(
    ("tool", "digests", "expected"),
    [
        ("docker", [f"zeroserve@{DIGEST}"], f"digest {DIGEST}"),
        ("docker", [], f"image ID {ID}"),
        ("podman", [f"localhost/zeroserve@{DIGEST}"], f"image ID {ID}"),
    ],
    ids=["docker with containerd's store", "docker with its own store", "podman"],
)
def test_docker_and_podman(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, digests: list[str], expected: str
) -> None:
    answer = json.dumps([{"Id": ID if tool == "docker" else ID.removeprefix("sha256:"), "RepoDigests": digests}])
    script = tmp_path / tool
    script.write_text(f"#!/bin/sh\n[ \"$*\" = 'image inspect zeroserve:digits' ] && cat <<'END'\n{answer}\nEND\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert image.identity([tool], "zeroserve:digits") == expected
    assert re.fullmatch(r"(digest|image ID) sha256:[0-9a-f]{64}", expected)
