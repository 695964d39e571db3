"""docs/operations.md has every environment variable that the function reads, with its default and its meaning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from function.settings import VARIABLES

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def rows() -> dict[str, tuple[str, str]]:
    """Variable -> default and meaning, from the table of its section."""
    section = DOCUMENT.read_text().partition("## Environment variables\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+) \|$", section, re.MULTILINE)
    return {name: (default, meaning) for name, default, meaning in found}


def test_each_variable_has_a_row_and_each_row_a_variable() -> None:
    assert sorted(rows()) == sorted(VARIABLES)


def test_defaults_are_the_functions_own() -> None:
    for name, (default, _) in rows().items():
        if name != "MODEL_REPOSITORY":  # a path that depends on where the function lies
            assert default == (f"`{VARIABLES[name].default}`" if VARIABLES[name].default else "-"), name


@pytest.mark.parametrize("name", VARIABLES)
def test_meanings_are_the_functions_own(name: str) -> None:
    """The page may say more than the settings' table does, before it and behind it."""
    assert VARIABLES[name].meaning in rows()[name][1].replace("`", "")


def test_commands_of_make_exist() -> None:
    makefile = (DOCUMENT.parents[1] / "Makefile").read_text()
    mentioned = set(re.findall(r"\bmake ([a-z][a-z-]+)\b", DOCUMENT.read_text()))
    assert mentioned
    assert [target for target in sorted(mentioned) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
