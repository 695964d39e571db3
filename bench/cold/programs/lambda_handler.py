"""A Lambda entry for the cold-start benchmark: the real handler, and when it did what in a header of its answer."""

from __future__ import annotations

import os
import sys
import time

_importing = time.monotonic_ns()

_module, _, _name = os.environ["COLD_HANDLER"].rpartition(".")
__import__(_module)
_handler = getattr(sys.modules[_module], _name)

_imported = time.monotonic_ns()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def handler(event: dict[str, Any], context: object) -> Any:
    """The answer of COLD_HANDLER to a function URL's event, with `x-cold-ns`: five times of the monotonic clock."""
    called = time.monotonic_ns()
    answer = _handler(event, context)
    answered = time.monotonic_ns()
    stamps = (os.environ.get("COLD_INTERPRETER_NS", _importing), _importing, _imported, called, answered)
    answer["headers"]["x-cold-ns"] = ",".join(map(str, stamps))
    return answer
