"""`make run`: what it prints, and how it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from infra import run
from tests.contract import made_models

if TYPE_CHECKING:
    from pathlib import Path


def run_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    return run.main()


def test_the_digits_are_shown_and_right(
    digits_prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch) == 0
    printed = capsys.readouterr().out
    blocks = [block.splitlines() for block in printed.split("\n\n") if block.startswith("held-out digit")]
    assert len(blocks) == len(run.DIGITS)
    for title, first, *others in blocks:
        label = title.partition("(a ")[2].rstrip(")")
        assert first.split()[:2] == ["1", label]
        assert len(others) == 4
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line}
    assert [cell for cell in lines["cold"] if float(cell) <= 0] == []
    assert lines["warm"][1] == "-"  # not loaded again
    assert f"curl --data-binary @{run.SAMPLES}/digit-0.png" in printed
    assert (run.SAMPLES / "digit-0.png").is_file()


def test_a_picture_of_ones_own(
    digits_prepared: Path,
    picture: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "my digit.png"
    path.write_bytes(picture)
    assert run_with(monkeypatch, "--image", str(path)) == 0
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nothing"], ("'nothing' is neither a model here", "digits", "model.toml")),
        (["--image", "missing.png"], ("IMAGE cannot be read", "missing.png")),
        (["--image", __file__], ("the function answered 415", "JPEG, PNG or WebP")),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    digits_prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: tuple[str, ...],
) -> None:
    assert run_with(monkeypatch, *arguments) == 1
    error = capsys.readouterr().err
    assert "error: " in error
    for word in words:
        assert word in error


def test_a_model_in_a_folder_of_another_name_says_so(
    tmp_path: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made_models.add_model(
        tmp_path, "shades", made_models.shades(), image=made_models.shades_rule("none"), labels=("r", "g", "b")
    )
    image = tmp_path / "picture.png"
    image.write_bytes(picture)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert run_with(monkeypatch, "--model", str(folder), "--image", str(image)) == 0
    assert "  1  r" in capsys.readouterr().out
    other = folder.rename(tmp_path / "other")
    assert run_with(monkeypatch, "--model", str(other), "--image", str(image)) == 1
    error = capsys.readouterr().err
    for word in ("the function answered 503", "holds the model 'shades'", "'other'", "rename one of the two"):
        assert word in error
