"""`make package`: dist/function.zip and one layer zip for each CPU architecture of Lambda, reproducible to the byte.

python -m layer.package digits --python-version 3.13
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from layer import bytecode, stage
from layer.archive import write_zip
from layer.bytecode import BytecodeError
from layer.extras import RequirementError
from layer.slim import RuleError
from layer.wheels import ARCHITECTURES, ROOT, WheelError
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

PYTHON_VERSION = "3.13"  # Lambda's managed runtime until 2029-06-30
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_LIMIT = 250 * 1024 * 1024  # function and layers together
UPLOAD_LIMIT = 50 * 1024 * 1024  # of one zip sent straight to Lambda; a larger one goes by way of S3


class SizeError(Exception):
    """More than Lambda takes."""


def build(
    target: Path, models: Sequence[str], python_version: str, architectures: Sequence[str] = ARCHITECTURES
) -> list[str]:
    """Writes the zips into `target`; returns what to tell: one line for each zip, and for what is missing.

    function.zip fits all architectures: its code is Python, and each CPU takes its own family of a model or the
    portable one. Raises SizeError and what `layer.stage` raises.
    """
    python = bytecode.find_python(python_version)
    lines, sizes = [], {}
    with tempfile.TemporaryDirectory() as name:
        code = Path(name, "function")
        families = stage.function(code, models, python)
        lines += stage.missing_kernels(code, architectures)
        size = write_zip(target / "function.zip", code)
        lines.append(_line(target / "function.zip", size) + f"  {'; '.join(families)}")
        for architecture in architectures:
            folder = Path(name, architecture)
            stage.layer(folder / "python", architecture, python_version, python, models)
            stage.wrapper(folder)
            path = target / f"layer-{architecture}.zip"
            sizes[path.name] = write_zip(path, folder)
            lines.append(_line(path, sizes[path.name]) + f"  Python {python_version}")
    check_size(size, sizes)
    if not python:
        lines.append(bytecode.missing(python_version))
    return lines


def check_size(function: int, layers: dict[str, int]) -> None:
    """SizeError when the function and a layer are more than Lambda unpacks."""
    for name, size in layers.items():
        if function + size > UNZIPPED_LIMIT:
            raise SizeError(
                f"function.zip ({function / 1e6:.1f} MB unzipped) and {name} ({size / 1e6:.1f} MB) are more than the "
                f"{UNZIPPED_LIMIT / 1e6:.0f} MB that Lambda takes; deploy the container image, or fewer models"
            )


def _line(path: Path, unzipped: int) -> str:
    zipped = path.stat().st_size
    note = "  (over 50 MB: upload it by way of S3)" if zipped > UPLOAD_LIMIT else ""
    return f"{path.name:<18} {zipped / 1e6:6.1f} MB zipped {unzipped / 1e6:7.1f} MB unzipped{note}"


def main() -> int:
    """0 when all zips were written; 1 and a message when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="name of a model here, or a folder with a model.toml")
    parser.add_argument("--python-version", default=PYTHON_VERSION, help="of the managed runtime")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    try:
        print("\n".join(build(arguments.output, arguments.models, arguments.python_version)))
    except (
        BytecodeError,
        ManifestError,
        RuleError,
        SizeError,
        RequirementError,
        WheelError,
        stage.StageError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
