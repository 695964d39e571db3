"""The command `zeroserve` in this process."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from infra.cli.app import app


def run(*arguments: object, status: int = 0) -> Any:
    """Its result; it ends with `status`."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def refusal(*arguments: object) -> str:
    """The one line on stderr of a command that ends with 1."""
    (line,) = run(*arguments, status=1).stderr.splitlines()
    assert line.startswith("error: ")
    return str(line)
