"""What function/ may import; the floors themselves are contracts in pyproject.toml, which `make lint` checks."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

FUNCTION = Path(__file__).parents[2] / "function"

# What is not in the standard library -> the modules that may import it.
THIRD_PARTY = {
    "botocore": {"aws.sdk_credentials"},
    "PIL": {"codecs.heic", "codecs.image", "codecs.image_decoders"},
    "pillow_heif": {"codecs.heic"},
    "snapshot_restore_py": {"engine.snapstart"},
    "pybase64": {
        "cache.dynamodb",
        "events.http_event",
        "events.http_response",
        "events.records",
        "codecs.feast",
        "codecs.image",
        "codecs.predictions",
        "features.dynamodb_store",
    },
    "pg8000": {"features.postgres_store"},
    "tokenizers": {"codecs.text"},
    "httptools": {"server.heads", "server.protocol"},
}
TYPES_ALONE = {"typing_extensions"}  # imported under TYPE_CHECKING, never when the function runs

MODULES = {
    path.relative_to(FUNCTION).with_suffix("").as_posix().replace("/", "."): path
    for path in sorted(FUNCTION.rglob("*.py"))
}


def imports_of(path: Path) -> set[str]:
    """The dotted names that a module imports: at its top, inside a function, or for type checkers alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import; write from function.x import y"
            found.add(node.module or "")
    return found - {"__future__"}


@pytest.mark.parametrize("module", MODULES)
def test_third_party_modules_stay_where_they_belong(module: str) -> None:
    for name in imports_of(MODULES[module]):
        top = name.partition(".")[0]
        if top != "function" and top not in sys.stdlib_module_names and top not in TYPES_ALONE:
            assert module in THIRD_PARTY.get(top, set()), f"{module} imports {name}"


def test_lazy_imports_are_seen() -> None:
    assert "function.engine" in imports_of(MODULES["engine.model"])  # golden, inside a method
    assert "function.settings" in imports_of(MODULES["engine.model"])  # under TYPE_CHECKING


@pytest.mark.parametrize("module", [name for name in MODULES if name.endswith("__init__")])
def test_packages_are_empty(module: str) -> None:
    assert MODULES[module].read_text(encoding="utf-8") == ""


def test_the_lambda_entry_is_short() -> None:
    assert len((FUNCTION / "handler.py").read_text(encoding="utf-8").splitlines()) < 80
