"""An exception in another thread, by CPython's API."""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread


def interrupt(thread: Thread, kind: type[BaseException]) -> None:
    """Raises `kind` in the thread at its next step of Python code; a call into C is not interrupted."""
    raised = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raised.argtypes, raised.restype = (ctypes.c_ulong, ctypes.py_object), ctypes.c_int
    if thread.ident is not None:
        raised(thread.ident, kind)
