"""`pytest -p tests.core_only`: the tests with the packages of the servers and of AWS' SDK hidden, as if not installed.

What passes so needs no more than requirements/function.txt and the tests' own tools.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

HIDDEN = frozenset(
    ("awslambdaric", "boto3", "botocore", "h11", "httptools", "mangum", "moto", "starlette", "uvicorn", "uvloop")
)


class _Hiding:
    """The first of sys.meta_path: it is asked before any other."""

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None) -> None:
        """None, so that others are asked; ModuleNotFoundError for what is hidden."""
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide() -> None:
    """From now on, in this process. Importing this module alone hides nothing."""
    sys.meta_path.insert(0, _Hiding())


pytest_configure = hide
