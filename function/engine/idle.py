"""Memory given back while nobody asks: what the last inference has left in ORT's arena, and what malloc keeps.

It is touched anew by the next inference: that takes 1 to 2 ms longer. So it is for processes that share a machine.
"""

from __future__ import annotations

import contextlib
import threading
import time

from function.engine.session import OPTIMISE_NONE, Session
from function.native import malloc
from function.native.ort_capi import OrtError
from function.tensor import Tensor

IDLE_S = 2.0  # after the last inference
# An ONNX model whose output y is its input x, FP32 [1]: ORT shrinks an arena at the end of a run, and only there.
_NOTHING = (
    b'\x08\x08:9\n\x12\n\x01x\x12\x01y\x1a\x00"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04'
    b"\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


def give_back() -> None:
    """Frees the arena's blocks that no inference uses, and what malloc keeps; 1 ms."""
    session = Session(_NOTHING, optimise=OPTIMISE_NONE, threads=1)
    session.run({"x": Tensor("FP32", (1,), bytes(4))}, shrink=True)
    del session
    malloc.give_back()


class Idle:
    """A thread that gives memory back once, IDLE_S after the last of some inferences."""

    def __init__(self) -> None:
        self._last = 0.0
        self._resting = True  # the thread waits for an inference, not for time to pass
        self._inference = threading.Event()
        threading.Thread(target=self._watch, name="idle", daemon=True).start()

    def used(self) -> None:
        """After each inference."""
        self._last = time.monotonic()
        if self._resting:
            self._inference.set()

    def _watch(self) -> None:
        while True:
            self._inference.wait()
            self._inference.clear()
            self._resting = False
            while (left := self._last + IDLE_S - time.monotonic()) > 0:
                time.sleep(left)
            self._resting = True
            with contextlib.suppress(OrtError, MemoryError):
                give_back()
