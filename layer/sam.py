"""What layer/Makefile runs for `sam build`: one folder of a zip, laid out where SAM wants it.

python -m layer.sam function OUT --model digits
python -m layer.sam layer OUT --architecture arm64
"""

from __future__ import annotations

import argparse
from pathlib import Path

from layer import bytecode, stage
from layer.bytecode import BytecodeError
from layer.extras import RequirementError
from layer.package import PYTHON_VERSION
from layer.slim import RuleError
from layer.wheels import ARCHITECTURES, WheelError
from models.manifest import ManifestError


def main() -> None:
    """Lays the files out; SystemExit with a message when something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["function", "layer"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="x86_64")
    arguments = parser.parse_args()
    python = bytecode.find_python(PYTHON_VERSION)
    try:
        if arguments.kind == "function":
            lines = stage.function(arguments.out, [arguments.model], python)
            print("\n".join(lines + stage.missing_kernels(arguments.out)))
        else:
            stage.layer(arguments.out / "python", arguments.architecture, PYTHON_VERSION, python, [arguments.model])
            stage.wrapper(arguments.out)
        if not python:
            print(bytecode.missing(PYTHON_VERSION))
    except (BytecodeError, ManifestError, RequirementError, RuleError, WheelError, stage.StageError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
