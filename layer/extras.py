"""What only some models need in the layer: the tokenizers package for [text], PostgreSQL's driver for a view's query.

And the requirements.txt of a model with a processing.py, [image] or [[features]]: it may name pillow-heif or pg8000.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from layer import elf, rules, slim, wheels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.manifest import Manifest

REQUIREMENTS = "requirements.txt"


class RequirementError(Exception):
    """A requirements.txt that cannot be packed; the message says why."""


def install(models: Sequence[Manifest], architecture: str, python_version: str, target: Path) -> None:
    """Adds to `target` what `models` need; nothing for models without texts, queries and requirements.txt.

    Raises layer.wheels.WheelError, layer.slim.RuleError and RequirementError.
    """
    if any(model.text for model in models):
        slim.install(rules.TEXT, wheels.ROOT / "requirements" / "text.txt", architecture, python_version, target)
    if any(view.query for model in models for view in model.features):
        lock = wheels.ROOT / "requirements" / "postgres.txt"
        slim.install(rules.POSTGRES, lock, architecture, python_version, target)
    for model in models:
        required = model.folder / REQUIREMENTS
        if (model.processing or model.image or model.features) and required.is_file():
            # What function/ itself has in the layer is enough for pillow-heif, which asks for Pillow; a processing.py
            # may need all of it.
            present = () if model.processing else rules.FUNCTION
            with tempfile.TemporaryDirectory() as temporary:
                for wheel in wheels.fetch_required(required, Path(temporary), architecture, python_version):
                    name = wheel.name.partition("-")[0].replace("_", "-").lower()
                    if name == "onnxruntime" or name not in present:
                        _unpack(wheel, name, required, architecture, target)


def _unpack(wheel: Path, name: str, required: Path, architecture: str, target: Path) -> None:
    """All of a wheel but for commands and headers, as pip would lay it out."""
    if name == "onnxruntime":
        raise RequirementError(f"{required} asks for onnxruntime, which is in the layer in its own form; leave it out")
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            path = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", item.filename)
            if item.is_dir() or re.match(r"[^/]+\.data/", path):
                continue
            content = archive.read(item)
            if content.startswith(b"\x7fELF") and (found := elf.machine(content)) != architecture:
                raise RequirementError(f"{wheel.name}: {path} is for {found}, not for {architecture}")
            place = (target / path).resolve()
            if not place.is_relative_to(target.resolve()):
                raise RequirementError(f"{wheel.name} has a file outside its folder: {path}")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
