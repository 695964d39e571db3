"""One loaded model: the artifact that was chosen, the sessions over it, and what they answer."""

from __future__ import annotations

import threading

from function.concurrency import Background
from function.engine import artifact, repository
from function.errors import PredictError, invalid
from function.native import cpu
from function.tensor import DATATYPES, PixelTensor, Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from function.engine.artifact import Artifact
    from function.engine.repository import Metadata
    from function.engine.session import Session
    from function.settings import Settings
    from function.tensor import Spec


class Model:
    """A model ready to run: its metadata, the artifact that was chosen, and ORT sessions over it."""

    def __init__(self, metadata: Metadata, settings: Settings) -> None:
        """PredictError UNAVAILABLE, with the reason and the command that mends it, when it cannot be loaded."""
        from function.engine.session import Session
        from function.native import ort_capi  # loads ctypes and later ONNX Runtime: not before a model is needed

        self.metadata = metadata
        try:
            version = ort_capi.load_library().version
            # Reading and checking the files needs no GIL either: it passes while ORT initialises itself.
            mapped = bool(settings.map_weights)
            choosing = Background(lambda: artifact.choose(metadata, version, cpu.flags(), mapped=mapped))
            ort_capi.get_library()
        except MemoryError as error:
            raise self._out_of_memory(error) from error
        except ort_capi.OrtError as error:  # the installation is broken: its message says how to mend it
            raise PredictError("UNAVAILABLE", f"ONNX Runtime cannot be loaded: {error}") from error
        threads = settings.intra_op_threads or cpu.count(settings.function_memory_mb)
        self._graphs: dict[str, Session] = {}
        self._graphs_lock = threading.Lock()
        try:
            self.artifact: Artifact = choosing.result()
            level = artifact.optimise_level(self.artifact.family)
            weights = self.artifact.weights
            self._session = Session(self.artifact.graph, optimise=level, threads=threads, weights=weights)
            weights.clear()  # ORT has its own copy
        except MemoryError as error:
            raise self._out_of_memory(error) from error
        except ort_capi.OrtError as error:
            raise self._unavailable(str(error)) from error
        if not self.artifact.is_current():  # the graph may be of one build and the weights of the other
            reason = f"model {metadata.name!r} was replaced while it was loaded; ask again"
            raise PredictError("UNAVAILABLE", reason)
        self._check_specs()
        if settings.verify_artifacts:
            self.verify()

    def _unavailable(self, reason: str) -> PredictError:
        command = repository.prepare_command(self.metadata.folder)
        return PredictError("UNAVAILABLE", f"model {self.metadata.name!r} cannot be loaded: {reason}; run: {command}")

    def _out_of_memory(self, error: MemoryError) -> PredictError:
        mend = "give the process more, or serve a smaller model"
        return PredictError(
            "UNAVAILABLE", f"model {self.metadata.name!r} cannot be loaded: not enough memory ({error}); {mend}"
        )

    def _check_specs(self) -> None:
        for side, said, found in (
            ("input", self.metadata.inputs, self._session.inputs),
            ("output", self.metadata.outputs, self._session.outputs),
        ):
            described = {name: (spec.datatype, spec.shape) for name, spec in said.items()}
            actual = {name: (spec.datatype, spec.shape) for name, spec in found.items()}
            if described != actual:
                raise self._unavailable(f"its graph has the {side}s {actual}, its metadata says {described}")

    def verify(self) -> None:
        """sha256 of each file and the golden input's answer; PredictError UNAVAILABLE names what differs."""
        from function.engine import golden
        from function.native.ort_capi import OrtError

        recorded = self.artifact.document["golden"]
        try:
            artifact.check_files(self.artifact.folder, self.artifact.document["files"], sha256=True)
            inputs = golden.inputs(self.metadata.inputs, recorded["seed"], self.metadata.example)
            got = golden.answer(self._session.run(inputs))
        except (artifact.MismatchError, OrtError) as error:
            raise self._unavailable(str(error)) from error
        if difference := golden.difference(recorded["outputs"], got):
            raise self._unavailable(f"the golden input's answer is wrong: {difference}")

    def warm(self) -> None:
        """One run, so that no page of the weights is touched for the first time by a request.

        On zeros: the golden input is 150,000 numbers made by Python, 18 ms in which the GIL is held. That the graph
        may refuse zeros says nothing about the model.
        """
        try:
            self.run(
                {name: _blank(spec, self.metadata.example.get(name, {})) for name, spec in self.metadata.inputs.items()}
            )
        except PredictError as error:
            if error.code != "INVALID_ARGUMENT":
                raise

    def run(self, inputs: Mapping[str, Tensor], outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The named outputs (all when None) for tensors that fit the model's specs.

        A picture becomes the model's input first. PredictError INVALID_ARGUMENT when the graph itself refuses the
        input; MemoryError when there is not enough for it.
        """
        from function.native.ort_capi import OrtError

        fitting = {
            name: self.pixels_to_input(tensor) if isinstance(tensor, PixelTensor) else tensor
            for name, tensor in inputs.items()
        }
        try:
            return self._session.run(fitting, outputs)
        except MemoryError:
            raise
        except OrtError as error:
            raise invalid(f"model {self.metadata.name!r} cannot take this input: {error}") from error

    def pixels_to_input(self, pixels: Tensor) -> Tensor:
        """UINT8 [n, height, width, 3] scaled, normalised and laid out as the model's picture input."""
        return self._graph("image.onnx").run({"pixels": pixels})["input"]

    def pooled(self, output: Tensor, mask: Tensor) -> Tensor:
        """FP32 [n, width]: what [text] makes of a text model's output; `mask` is FP32 [n, tokens]."""
        inputs = {"output": output, "mask": mask}
        graph = self._graph("text.onnx")
        return graph.run({name: inputs[name] for name in graph.inputs})["result"]

    def _graph(self, name: str) -> Session:
        """One of the small graphs beside the artifact, loaded on first need (0.5 ms) from the bytes that were checked:
        the folder may hold another build by now."""
        from function.engine.session import OPTIMISE_NONE, Session
        from function.native.ort_capi import OrtError

        with self._graphs_lock:
            if name not in self._graphs:
                try:
                    content = self.artifact.graphs[name]
                    self._graphs[name] = Session(content, optimise=OPTIMISE_NONE, threads=1)
                except OrtError as error:
                    raise self._unavailable(str(error)) from error
            return self._graphs[name]


def _blank(spec: Spec, example: dict[str, Any]) -> Tensor:
    """A tensor for it with the example's sizes, without one dynamic dimensions 1: zeros, or for BYTES "0".

    An example's value stands: a sampling rate, say, without which the graph would run down another branch.
    """
    if example.get("value") is not None:
        from function.engine import golden

        return golden.inputs({spec.name: spec}, example={spec.name: example})[spec.name]
    shape = tuple(example.get("shape") or [max(size, 1) if size else 0 for size in spec.shape])
    count, itemsize = element_count(shape), DATATYPES[spec.datatype].itemsize
    return Tensor(spec.datatype, shape, [b"0"] * count if spec.datatype == "BYTES" else bytes(count * itemsize))
