"""The models of one repository: metadata at once, each model loaded at its own first use, whoever asks first."""

from __future__ import annotations

import threading

from function.concurrency import Background
from function.engine import repository
from function.engine.model import Model
from function.errors import PredictError, invalid
from function.observability.telemetry import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from function.engine.model_store import ModelStore
    from function.engine.repository import Metadata
    from function.settings import Settings


class Models:
    """The models of one repository. `get` loads; everything else answers from the metadata."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._store: ModelStore | None = None
        if settings.model_uri:
            from function.engine.model_store import ModelStore  # brings http.client, which costs 70 ms

            self._store = ModelStore(settings)

    def names(self) -> list[str]:
        """All models of the repository and those loaded from elsewhere in it, sorted; loading none of them."""
        published = [self._settings.model_name] if self._store else []
        return sorted({*repository.names(self._settings.model_repository), *self._models, *published})

    def metadata(self, name: str) -> Metadata:
        """What a loaded model was loaded with, else what the folder holds now; PredictError as `repository.read`."""
        model = self._models.get(name)
        if model:
            return model.metadata
        if self._store and name == self._settings.model_name:
            fetched = self._store.metadata()
            fetched.loaded_by_request = True
            return fetched
        return repository.read(self._settings.model_repository, name)

    def all(self) -> Iterator[tuple[str, Metadata | PredictError]]:
        """Each model's name with its metadata, or why it cannot be served."""
        for name in self.names():
            try:
                yield name, self.metadata(name)
            except PredictError as error:
                yield name, error

    def loaded(self, name: str) -> bool:
        """Whether a request for `name` would find it loaded."""
        return name in self._models

    def get(self, name: str) -> Model:
        """The model, loaded by the thread that asks first while others wait; a failure is tried again next time."""
        model = self._models.get(name)
        if model is not None:
            return model
        metadata = self.metadata(name)
        with self._loading_of(name):
            return self._models.get(name) or self._load(metadata)

    def begin(self, name: str) -> Callable[[], Model]:
        """Starts loading the model, so that it loads while the caller decodes; the result waits for it, as `get`.

        Loading is ORT's work, outside the GIL: on two CPUs decoding passes at the same time.
        """
        if name in self._models:
            return lambda: self.get(name)
        from function.native import ort_capi  # with ctypes 4 ms, needed by any load

        loading = Background(lambda: self.get(name))
        # Wait until the load no longer needs the GIL: decoding a large body holds it for longer than this wait takes.
        while loading.running() and not ort_capi.initialising.wait(0.01):
            pass
        return loading.result

    def warm(self, name: str) -> None:
        """Loads the model and warms it; nothing of an upstream's, of which nothing is here."""
        if self.metadata(name).upstream is None:
            self.get(name).warm()

    def load(self, name: str, folder: str) -> Metadata:
        """Loads the model `name` from the model folder `folder`, in place of the one that had the name.

        PredictError as `repository.read` and Model; then nothing has changed.
        """
        metadata = repository.read(self._settings.model_repository, name, folder)
        metadata.loaded_by_request = True
        with self._loading_of(name):
            self._load(metadata)
        return metadata

    def refresh(self) -> None:
        """Loads each model anew whose folder has another build now; one that cannot be loaded stays as it was."""
        for name, model in list(self._models.items()):
            try:
                metadata = repository.read(self._settings.model_repository, name)
                before = model.metadata
                if metadata.folder == before.folder and metadata.fingerprint != before.fingerprint:
                    with self._loading_of(name):
                        self._load(metadata).warm()
            except PredictError as error:
                warn(f"{error.message}; the one that was loaded before serves")

    def reload(self) -> None:
        """Loads all loaded models anew, for the CPU that `cpu.flags` now names."""
        for name in list(self._models):
            with self._loading_of(name):
                self._load(self.metadata(name)).warm()

    def _loading_of(self, name: str) -> threading.Lock:
        with self._lock:
            return self._loading.setdefault(name, threading.Lock())

    def _load(self, metadata: Metadata) -> Model:
        if metadata.upstream is not None:
            raise invalid(f"model {metadata.name!r} is an upstream's, of which there is nothing to load")
        model = self._published(metadata) or Model(metadata, self._settings)
        if model.artifact.warning:
            warn(model.artifact.warning)
        self._models[metadata.name] = model
        return model

    def _published(self, metadata: Metadata) -> Model | None:
        """The model of MODEL_URI, if `metadata` is that model's."""
        if self._store is None or metadata.folder != self._store.folder:
            return None
        from function.native import ort_capi

        self._store.fetch(ort_capi.get_library().version, int8=metadata.int8)
        try:
            return Model(metadata, self._settings)
        except PredictError as error:
            if isinstance(error.__cause__, MemoryError):
                raise
            self._store.discard()  # what cannot be loaded is fetched again
            raise self._store.unavailable(f"what came cannot be loaded: {error.message}") from error
