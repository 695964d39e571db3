"""`make release`: what it refuses, and what is in dist/ when it has ended."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from function.settings import VERSION
from infra import release
from layer import bytecode, package

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "## 1.2.3 - 2026-11-24"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As much of the project as says which version it is: 1.2.3."""
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Dockerfile").write_text("FROM x\nARG VERSION=1.2.3\n")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{FIRST}\n\n- New.\n\n## 1.2.2 - 2026-01-01\n")
    return tmp_path


def test_a_version_that_is_ready(root: Path) -> None:
    release.check(root, "1.2.3")


WRONG = ["## Unreleased", "## 1.2.3", f"## Unreleased\n\n{FIRST}", "## 1.2.30 - 2026-11-24", ""]


@pytest.mark.parametrize("first", WRONG)
def test_a_changelog_that_does_not_begin_with_the_version(root: Path, first: str) -> None:
    path = root / "CHANGELOG.md"
    path.write_text(path.read_text().replace(FIRST, first))
    with pytest.raises(release.ReleaseError, match=r"must be '## 1\.2\.3 - YYYY-MM-DD'.*it is "):
        release.check(root, "1.2.3")


def test_an_image_of_another_version(root: Path) -> None:
    (root / "infra" / "Dockerfile").write_text("FROM x\nARG VERSION=1.2.2\n")
    with pytest.raises(release.ReleaseError, match=r"no line 'ARG VERSION=1\.2\.3'"):
        release.check(root, "1.2.3")


def test_what_was_built_is_what_the_checksums_say(
    tmp_path: Path, digits_prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "DIST", tmp_path / "dist")
    monkeypatch.setattr(release, "check", lambda: None)
    monkeypatch.setattr("sys.argv", ["release", "digits", "--without", "image"])
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "of-an-older-version.zip").touch()
    status = release.main()
    said = capsys.readouterr()
    if bytecode.find_python(package.PYTHON_VERSION) is None:
        assert (status, "There is no python" in said.err) == (1, True)
        return
    assert status == 0, said.err
    assert "image: left out" in said.out
    names = {path.name for path in (tmp_path / "dist").iterdir()}
    wheel = f"zeroserve-{VERSION}-py3-none-any.whl"
    assert names == {"function.zip", "layer-x86_64.zip", "layer-arm64.zip", wheel, release.CHECKSUMS}
    subprocess.run(["sha256sum", "--check", "--strict", release.CHECKSUMS], cwd=tmp_path / "dist", check=True)
