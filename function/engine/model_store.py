"""A published model from S3 (`python -m models.publish`): fetched at first use, checked, shared by all who run here."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from contextlib import contextmanager

from function.aws.download import download
from function.aws.errors import AwsError
from function.aws.s3 import S3, parse_uri
from function.engine import artifact, private_folder, repository
from function.errors import PredictError
from function.native import cpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from function.engine.repository import Metadata
    from function.settings import Settings

SECONDS = 25.0  # for all of a fetch, waiting for another process included: below the function's timeout of 30
STALL = 5.0  # seconds without a byte
_LARGEST_DOCUMENT = 16 * 1024 * 1024  # model.json has the labels in it
_AGAIN = 0.02  # seconds between two looks at a lock


class ModelStore:
    """The model at MODEL_URI, kept in MODEL_CACHE under a name that only this URI has."""

    def __init__(self, settings: Settings) -> None:
        """PredictError (UNAVAILABLE) when MODEL_URI is no S3 URI."""
        self._name, self._uri = settings.model_name, settings.model_uri
        try:
            self._bucket, prefix = parse_uri(self._uri)
        except ValueError as error:
            raise self.unavailable(f"MODEL_URI: {error}") from None
        self._prefix = prefix.rstrip("/") + "/" if prefix else ""
        digest = hashlib.sha256(f"{settings.aws_endpoint_url} {self._uri}".encode()).hexdigest()[:16]
        cache = os.path.abspath(settings.model_cache)
        self._root = os.path.join(cache, digest)
        self.folder = os.path.join(self._root, self._name, "prepared")
        self._folders = (cache, self._root, os.path.dirname(self.folder), self.folder)
        self._s3 = S3(settings)

    def metadata(self) -> Metadata:
        """The model's metadata, its document fetched if need be; PredictError UNAVAILABLE with the reason."""
        path = os.path.join(self.folder, "model.json")
        with self._explained():
            private_folder.check(self._folders)  # before anything in them is read
            if not os.path.exists(path):
                with self._locked():
                    if not os.path.exists(path):
                        _replace(path, self._document("model.json"))
        try:
            return repository.read(self._root, self._name)
        except PredictError as error:
            self.discard()
            raise self.unavailable(f"what came cannot be used: {error.message}") from error

    def fetch(self, ort_version: str, *, int8: bool = False) -> None:
        """Brings the artifact for this CPU and ONNX Runtime here, or the portable one where that is not published.

        Whole or not at all: files are checked by sha256 in a folder beside, which is then renamed. PredictError
        UNAVAILABLE with the reason; nothing is left over, so that the next request tries again.
        """
        available = cpu.flags()
        families = [cpu.INT8] if int8 and cpu.has_vnni(available) else []
        families += filter(None, [cpu.family(available)])
        with self._explained():
            private_folder.check(self._folders)
            if any(os.path.isdir(os.path.join(self.folder, family)) for family in families):
                return  # also where nothing can be written
        with self._explained(), self._locked() as deadline:
            if not any(self._fetch_family(family, ort_version, deadline) for family in families):
                self._fetch_family(artifact.PORTABLE, None, deadline)

    def discard(self) -> None:
        """Forgets what is here, so that the next request fetches it again."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fetch_family(self, family: str, ort_version: str | None, deadline: float) -> bool:
        """Whether the artifact is here now; False when S3 has none of this family that fits."""
        target = os.path.join(self.folder, family)
        if os.path.isdir(target):
            return True
        try:
            raw = self._document(f"{family}/{artifact.RECORD}")
        except AwsError as error:
            if error.status == 404 and family != artifact.PORTABLE:
                return False
            raise
        part = target + ".part"
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        os.makedirs(part)
        try:
            _replace(os.path.join(part, artifact.RECORD), raw)
            record = artifact.read_record(part)
            if ort_version not in (None, record["ort_version"]):
                shutil.rmtree(part)
                return False
            files = [(self._key(family, name), self._place(part, name), row) for name, row in record["files"].items()]
            download(self._s3, self._bucket, files, STALL, deadline)
            for _, path, row in files:
                _check(path, row)
            for _, path, _ in files:
                if os.path.dirname(path) != part:  # what all families share
                    os.replace(path, path.removesuffix(".part"))
            os.rename(part, target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            for name in os.listdir(self.folder):
                if name.endswith(".part"):
                    os.unlink(os.path.join(self.folder, name))
            raise
        return True

    def _document(self, name: str) -> bytes:
        return self._s3.get(self._bucket, self._prefix + name, _LARGEST_DOCUMENT)

    def _key(self, family: str, name: str) -> str:
        plain = name.removeprefix("../")
        if not plain or "/" in plain or plain == "..":
            raise ValueError(f"artifact.json names the file {name!r}")  # never outside the folder
        return self._prefix + (plain if name != plain else f"{family}/{name}")

    def _place(self, part: str, name: str) -> str:
        plain = name.removeprefix("../")
        return os.path.join(part, name) if name == plain else os.path.join(self.folder, f"{plain}.part")

    @contextmanager
    def _locked(self) -> Iterator[float]:
        """One process at a time, the others wait; gives the time (monotonic) by which all must be done."""
        deadline = time.monotonic() + SECONDS
        private_folder.make(self._folders)
        with open(f"{self._root}.lock", "wb") as lock:  # unlocked when it is closed, or the process ends
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"another process has been fetching it for {SECONDS:.0f} s") from None
                time.sleep(_AGAIN)
            private_folder.make(self._folders)  # `discard` may have removed them
            yield deadline

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (AwsError, OSError, artifact.MismatchError) as error:
            raise self.unavailable(str(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.unavailable(f"it is damaged ({error})") from error

    def unavailable(self, reason: str) -> PredictError:
        """The error of a model that is not to be had now."""
        message = f"model {self._name!r} could not be fetched from {self._uri}: {reason}; the next request tries again"
        return PredictError("UNAVAILABLE", message)


def _check(path: str, row: dict[str, Any]) -> None:
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != row["sha256"]:
            name = os.path.basename(path).removesuffix(".part")
            raise ValueError(f"the sha256 of {name} is not the one of artifact.json; publish the model again")


def _replace(path: str, content: bytes) -> None:
    with open(f"{path}.part", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # an empty file under the final name would not be fetched again
    os.replace(f"{path}.part", path)
