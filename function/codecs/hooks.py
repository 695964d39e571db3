"""A model's own Python, processing.py: called in threads of their own, so that one which never ends costs a 504.

    def preprocess(instance): ...   # an instance as JSON has it, {"b64": ...} as bytes -> {input: tensor}
    def postprocess(outputs): ...   # {output: Output} -> what JSON has: the prediction

Either or both. A tensor is a numpy array, any other buffer with a shape, or nested lists, with its batch dimension.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from function.errors import PredictError
from function.observability.telemetry import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType
    from typing import Any, Protocol

    from function.codecs.hook_tensors import Output
    from function.engine.repository import Metadata

    class Processing(Protocol):
        """What processing.py may have."""

        def preprocess(self, instance: Any) -> Mapping[str, Any]:
            """A tensor for each of the model's inputs, batch dimension included."""

        def postprocess(self, outputs: Mapping[str, Output]) -> Any:
            """The prediction: what `json.dumps` takes."""


MOST_ABANDONED = 4  # threads of a process that did not end in time
_TOLD = "the model's processing.py failed; the function's log says where"

_modules: dict[str, tuple[str, ModuleType]] = {}  # by folder: the model's fingerprint, and its module
_importing = threading.Lock()
_abandoned: list[threading.Thread] = []
_counting = threading.Lock()


class _AbandonedError(SystemExit):
    """Raised in a hook whose time is over; threads that end by a SystemExit say nothing."""


class Hooks:
    """The hooks of one model for one request, which share its `timeout_s`."""

    def __init__(self, model: Metadata, load: Callable[[], object], deadline: float | None) -> None:
        """`load` brings the model's files where they are still to be fetched; `deadline` is of `time.perf_counter`.

        PredictError as `call`.
        """
        self._model, self._deadline, self._path = model, deadline, _path(model)
        self._left: float = (model.processing or {})["timeout_s"]
        module = self.call("its import", lambda _: _imported(model, load), None)
        self.preprocess: Callable[[Any], Any] | None = getattr(module, "preprocess", None)
        self.postprocess: Callable[[Any], Any] | None = getattr(module, "postprocess", None)
        if not (callable(self.preprocess) or callable(self.postprocess)):
            raise self.failed("it has neither a function preprocess nor one called postprocess")

    def call(self, what: str, hook: Callable[[Any], Any], argument: Any) -> Any:
        """What the hook returns. PredictError INTERNAL when it raises, and what it raises when that has `status` 400;
        DEADLINE_EXCEEDED when its time is over; UNAVAILABLE when too many did not end.
        """
        outcome: list[Any] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(hook(argument))
            except BaseException as error:  # noqa: BLE001  (told by the thread that waits)
                errors.append(error)

        _check_abandoned()
        thread, started = threading.Thread(target=run, daemon=True), time.perf_counter()
        left = self._left if self._deadline is None else min(self._left, self._deadline - started)
        if left > 0:
            try:
                thread.start()
            except RuntimeError as error:  # there is no memory for a thread
                raise MemoryError(str(error)) from error
            thread.join(left)
            self._left -= time.perf_counter() - started
        if outcome:
            return outcome[0]
        if not errors:
            _abandon(thread)
            message = f"the model's processing.py did not end in time ({what})"
            warn(f"{message}; model {self._model.name!r}: make it faster, or raise timeout_s under [processing]")
            raise PredictError("DEADLINE_EXCEEDED", message)
        raise self._refusal(errors[0], what)

    def _refusal(self, error: BaseException, what: str) -> PredictError:
        if isinstance(error, PredictError):
            return error
        if getattr(error, "status", None) == 400:
            return PredictError("INVALID_ARGUMENT", str(error))
        return self.failed(f"{self._place(error)}{type(error).__name__}: {error}", what)

    def _place(self, error: BaseException) -> str:
        """The innermost line of processing.py that ran; nothing where none did."""
        trace, place = error.__traceback__, ""
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename == self._path:
                place = f"line {trace.tb_lineno}, in {code.co_name}: "
            trace = trace.tb_next
        return place

    def failed(self, problem: str, what: str = "") -> PredictError:
        """The answer that says nothing, once the log has been told."""
        warn(f"model {self._model.name!r}: {what}{what and ' of '}{self._path}: {problem}")
        return PredictError("INTERNAL", _TOLD)


def _check_abandoned() -> None:
    with _counting:
        _abandoned[:] = [thread for thread in _abandoned if thread.is_alive()]
        if len(_abandoned) >= MOST_ABANDONED:
            message = f"{len(_abandoned)} calls of processing.py did not end and still run; start the process anew"
            raise PredictError("UNAVAILABLE", message, {"Retry-After": "10"})


def _abandon(thread: threading.Thread) -> None:
    """Counts the thread, and asks it to end: a loop of Python's does, a call into C does when it returns."""
    from function.native.interrupt import interrupt

    with _counting:
        _abandoned.append(thread)
    interrupt(thread, _AbandonedError)


def _imported(model: Metadata, load: Callable[[], object]) -> ModuleType:
    with _importing:
        fingerprint, module = _modules.get(model.folder, ("", None))
        if module is None or fingerprint != model.fingerprint:
            module = _import(model, load)
            _modules[model.folder] = (model.fingerprint, module)
        return module


def _path(model: Metadata) -> str:
    return os.path.join(model.folder, "processing.py")


def _import(model: Metadata, load: Callable[[], object]) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location  # 1 ms

    path = _path(model)
    if not os.path.exists(path):
        load()
    name = f"processing_{model.fingerprint[:16]}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
