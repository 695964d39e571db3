"""Where models, caches and results lie: in a checkout beside the code, else in the user's own folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = (ROOT / "pyproject.toml").is_file()
EMBEDDED = ROOT / "models"  # the models that come with the code
SHIPPED = ("digits", "fraud", "mobilenetv2")  # their names; in a checkout others beside them are somebody's own


def cache() -> Path:
    """For what can be fetched or made again."""
    if CHECKOUT:
        return ROOT / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zeroserve"


def dist() -> Path:
    """Where packages are written."""
    return (ROOT if CHECKOUT else Path.cwd()) / "dist"


def repository() -> Path:
    """The folder of model folders: MODEL_REPOSITORY, else models/ of the checkout, or of where the command runs."""
    return Path(os.environ.get("MODEL_REPOSITORY") or (EMBEDDED if CHECKOUT else Path.cwd() / "models")).absolute()


def embedded(name: str) -> Path:
    """The folder of a model that comes with the code; of an installed package a copy, in which it can be prepared.

    The package's own where no copy can be made: it can be read at least.
    """
    folder = EMBEDDED / name
    if CHECKOUT or not (folder / "model.toml").is_file():
        return folder
    from function.settings import VERSION

    copy = cache() / "models" / VERSION / name
    if not copy.is_dir():
        beside = copy.with_name(f".{name}-{os.getpid()}")
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, beside)
        except OSError:  # of a home that is read-only
            return folder
        try:
            beside.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(beside)
    return copy
