"""`make release`: checks that a version can be released, builds all that belongs to it into dist/, publishes nothing.

python -m infra.release digits --no-image
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from function.settings import VERSION
from infra import image, wheel
from infra.image import ImageError
from infra.rie import ROOT
from layer import bytecode, package
from layer.bytecode import BytecodeError
from layer.package import SizeError
from layer.slim import RuleError
from layer.stage import StageError
from layer.wheels import WheelError
from models.manifest import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

DIST = ROOT / "dist"
CHECKSUMS = "SHA256SUMS"  # as sha256sum(1) writes and checks it


class ReleaseError(Exception):
    """Nothing can be released; the message says why and what to do."""


FAILURES = (ReleaseError, BytecodeError, ImageError, ManifestError, RuleError, SizeError, StageError, WheelError)


def check(root: Path = ROOT, version: str = VERSION) -> None:
    """ReleaseError unless CHANGELOG.md begins with the version's dated section, and the image has that version too."""
    changelog = (root / "CHANGELOG.md").read_text()
    sections = re.findall(r"(?m)^## (.+)$", changelog)
    if not sections or not re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", sections[0]):
        raise ReleaseError(
            f"the first section of CHANGELOG.md must be '## {version} - YYYY-MM-DD': VERSION of function/settings.py "
            f"and the day; it is {sections[:1]}. See Release in CONTRIBUTING.md"
        )
    dockerfile = (root / "infra" / "Dockerfile").read_text()
    if f"\nARG VERSION={version}\n" not in dockerfile:
        raise ReleaseError(f"infra/Dockerfile has no line 'ARG VERSION={version}', which function/settings.py has")


@dataclass(frozen=True)
class Release:
    """What is built: the models of the zips, the first of them in the image."""

    models: list[str]
    base_image: str = ""


def zips(release: Release) -> list[str]:
    """function.zip and the layers, with byte code: ReleaseError without the interpreter that compiles it."""
    if bytecode.find_python(package.PYTHON_VERSION) is None:
        raise ReleaseError(bytecode.missing(package.PYTHON_VERSION))
    return package.build(DIST, release.models, package.PYTHON_VERSION)


def container(release: Release) -> list[str]:
    """The image, which stays with the tool that built it."""
    return [image.build(release.models[0], release.base_image, tag=f"zeroserve:{VERSION}")]


def installable(_: Release) -> list[str]:
    """The wheel, which has the command and all that it needs."""
    return [wheel.build_wheel(str(DIST))]


# Each writes into DIST, or tells where else it is, and returns what to tell.
STEPS = {"zips": zips, "wheel": installable, "image": container}


def write_checksums(folder: Path) -> list[str]:
    """SHA-256 of every file of `folder` into CHECKSUMS; returns its lines."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]
    (folder / CHECKSUMS).write_text("\n".join(lines) + "\n")
    return lines


def main() -> int:
    """0 when all was built; 1 and a message when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of prepared models; the image has the first one")
    parser.add_argument("--base-image", default="", help="of the container image")
    parser.add_argument("--without", nargs="*", default=[], choices=STEPS, help="steps to leave out")
    arguments = parser.parse_args()
    try:
        check()
        shutil.rmtree(DIST, ignore_errors=True)  # an older file there would be in the checksums
        DIST.mkdir()
        for name, step in STEPS.items():
            lines = ["left out"] if name in arguments.without else step(Release(arguments.models, arguments.base_image))
            print(*(f"{name}: {line}" for line in lines), sep="\n")
        print(*write_checksums(DIST), sep="\n")
    except FAILURES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{VERSION} is built and not published: dist/ is checked by sha256sum -c {CHECKSUMS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
