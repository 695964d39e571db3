"""Where a model that is added lies: its name, and a folder that is there when it is whole, or not at all."""

from __future__ import annotations

import re
import shlex
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from function.engine.repository import LONGEST_NAME
from models.adding.words import AddError

if TYPE_CHECKING:
    from collections.abc import Iterator


def name_of(path: Path, wished: str) -> str:
    """The model's name: `wished`, or letters, digits, '.', '_' and '-' of the file's, or its folder's where that says
    nothing. AddError for a wish that cannot be a folder, or that a command would take for an option.
    """
    if wished:
        usable = "/" not in wished and wished.isprintable() and wished == wished.strip() and wished[0] not in "-."
        if not usable or len(wished) > LONGEST_NAME:
            said = wished if len(wished) <= LONGEST_NAME else f"{wished[:20]}..., {len(wished)} characters"
            raise AddError(
                f"--name is {said!r}; 1 to {LONGEST_NAME} printable characters without '/' are expected, the first "
                "neither '-' nor '.', without a space at either end"
            )
        return wished
    stem = path.absolute().parent.name if path.stem in ("model", "model_optimized", "network") else path.stem
    return re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-.")[:LONGEST_NAME] or "model"


def taken(target: Path) -> AddError:
    """What to say of a name that a model has already."""
    return AddError(
        f"{target} is there already; take another --name, or run: zeroserve remove {shlex.quote(target.name)}"
    )


@contextmanager
def new_folder(repository: Path, name: str) -> Iterator[Path]:
    """An empty folder, which becomes `repository`/`name` at the end of the block; after an error nothing is left.

    AddError where that is there already, also when somebody else has added it meanwhile, or cannot be made.
    """
    target = repository / name
    made: list[Path] = []
    try:
        try:
            made = [folder for folder in (repository, *repository.parents) if not folder.exists()]
            repository.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.TemporaryDirectory(dir=repository, prefix=".add-")
        except OSError as error:
            raise AddError(
                f"the repository {repository} cannot be written: {error.strerror}; set MODEL_REPOSITORY to one of yours"
            ) from error
        with temporary as beside:
            folder = Path(beside, name)
            folder.mkdir()
            yield folder
            try:
                folder.rename(target)
            except OSError as error:
                raise (taken(target) if target.exists() else error) from error
    except BaseException:
        _remove_empty(made)
        raise


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # another one was added meanwhile
            folder.rmdir()
