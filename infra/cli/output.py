"""How the commands speak: results on stdout, refusals as one line on stderr, JSON for scripts."""

from __future__ import annotations

import errno
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REFUSED, STOPPED = 1, 130  # exit statuses; 2 is click's, for a wrong usage
_OURS = ("function", "models", "infra", "layer")


@contextmanager
def refusals() -> Iterator[None]:
    """What this project raises on purpose, and what the disk refuses, ends the command with one line and status 1.

    A KeyboardInterrupt is told of where the command began, in zeroserve/__main__.py.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    except Exception as error:
        ours = type(error).__module__.partition(".")[0] in _OURS
        if not ours and not isinstance(error, (OSError, ModuleNotFoundError)):
            raise
        refuse(getattr(error, "message", "") or _in_words(error) or str(error))


def _in_words(error: Exception) -> str:
    """A package that only some commands need, or what the disk refused; empty for all else."""
    if isinstance(error, ModuleNotFoundError):
        return f"the Python package {error.name} is not installed; run: pip install {error.name}"
    if not isinstance(error, OSError) or not error.filename or not error.strerror:
        return ""
    said = f"{error.filename}: {error.strerror}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{said}; set MODEL_REPOSITORY (models), or XDG_CACHE_HOME (what is fetched), to a folder of yours"
    return f"{said}; make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else said


def refuse(message: str) -> None:
    """Ends the command: `error:` and the message."""
    print("error:", message, file=sys.stderr)
    raise typer.Exit(REFUSED)


def as_json(document: object) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table as wide as the terminal; where there is none, every cell is whole."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 400
    console.print(shown)


@contextmanager
def progress(title: str) -> Iterator[Callable[[str], None]]:
    """A spinner with the step that is under way; nothing where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(title) as status:
        yield lambda step: status.update(f"{title}: {step}")
