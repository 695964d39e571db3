"""The session's way from JSON's numbers to FP32, without a session over a model."""

from __future__ import annotations

import functools
import tempfile

from function.engine.model import Model
from function.engine.session import OPTIMISE_NONE, Session
from function.tensor import JsonTensor, Tensor
from models import graphs


class Rounding(Model):
    """As much of a model as rounds numbers."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        for name, graph in (("reals.onnx", graphs.reals()), ("numbers.onnx", graphs.numbers())):
            with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
                file.write(graph.SerializeToString())
                file.flush()
                self.sessions[name] = Session(file.name, optimise=OPTIMISE_NONE, threads=1)

    def _graph(self, name: str) -> Session:
        return self.sessions[name]


_rounding = functools.cache(Rounding)


def rounded(tensor: Tensor) -> Tensor:
    """`tensor` as a session would take it."""
    return _rounding()._rounded("x", tensor) if isinstance(tensor, JsonTensor) else tensor
