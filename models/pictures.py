"""Pictures to calibrate 8-bit integers with, and others that are held out to measure what they cost."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from function.codecs import image
from function.engine.session import OPTIMISE_NONE, Session
from function.errors import PredictError
from function.tensor import ImageRule, Tensor
from models import graphs, manifest, places
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.manifest import Manifest

MOST = 64  # pictures to calibrate with: more hardly widen the ranges
HELD_OUT_EVERY = 4  # of a folder: each fourth picture is held out, the first among them
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
EMBEDDED = "digits"


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures; `labels` are the classes of those that are held out, None where nobody knows them."""

    calibration: list[bytes]
    held_out: list[bytes]
    labels: list[int] | None
    source: str

    @property
    def digest(self) -> str:
        """Of all of it: changes with every picture."""
        found = hashlib.sha256(repr(self.labels).encode())
        for content in (*self.calibration, b"", *self.held_out):
            found.update(hashlib.sha256(content).digest())
        return found.hexdigest()


def find(model: Manifest, folder: Path | None) -> Pictures:
    """Those of `folder`, else of [int8] calibration in model.toml, else for digits its own data.

    ManifestError when the model takes no pictures, or there are none.
    """
    if model.image is None:
        raise ManifestError(
            f"{model.name} takes no pictures, and --int8 calibrates with pictures; without it FP32 serves, or add a "
            "graph that was quantised already"
        )
    if folder is None and model.int8.calibration:
        folder = model.folder / model.int8.calibration
    if folder is not None:
        return _of_folder(model, folder)
    if model.file.sha256 == manifest.read(places.EMBEDDED / EMBEDDED).file.sha256:
        return _digits()
    raise ManifestError(
        f"--int8 needs pictures that {model.name} is used for, and there are none; give --calibration FOLDER, or "
        f"calibration under [int8] in {model.folder / 'model.toml'}"
    )


def _digits() -> Pictures:
    try:
        from models import digits_data
    except ImportError as error:
        raise ManifestError(
            f"the digits to calibrate with come from scikit-learn ({error}); run: pip install scikit-learn"
        ) from None
    training, _ = digits_data.training()
    held_out, labels = digits_data.held_out()
    return Pictures([digits_data.to_png(picture) for picture in training[:MOST]], held_out, labels, "its training data")


def _of_folder(model: Manifest, folder: Path) -> Pictures:
    """All pictures below; where each lies in a folder that is named like a label, that is its class."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    held_out = paths[::HELD_OUT_EVERY]
    others = [path for index, path in enumerate(paths) if index % HELD_OUT_EVERY]
    if not others:
        raise ManifestError(
            f"{folder} has {len(paths)} JPEG, PNG or WebP pictures; at least 2, better 100, are expected"
        )
    others = others[:: -(-len(others) // MOST)]
    parents = [path.relative_to(folder).parts[0] for path in held_out]
    labels = [model.labels.index(name) for name in parents] if set(parents) <= set(model.labels) else None
    return Pictures(
        [path.read_bytes() for path in others], [path.read_bytes() for path in held_out], labels, str(folder)
    )


def tensors(model: Manifest, pictures: list[bytes]) -> Iterator[Tensor]:
    """Each picture as the model's input, FP32 with a batch of 1; ManifestError when one cannot be decoded."""
    assert model.image is not None  # noqa: S101  (`find` refuses)
    graph = Session(graphs.image(model.image).SerializeToString(), optimise=OPTIMISE_NONE, threads=1)
    rule = ImageRule(**asdict(model.image))
    for index, picture in enumerate(pictures):
        try:
            pixels = image.decode(picture, rule)
        except PredictError as error:
            raise ManifestError(f"picture {index} to calibrate with: {error.message}") from None
        yield graph.run({"pixels": pixels})["input"]
