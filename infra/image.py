"""`make image`: the container image, built with whichever of docker, podman and buildah works here.

python -m infra.image --model digits --base-image docker.io/library/python:3.13-slim --platform linux/arm64
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from infra.rie import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence


class ImageError(Exception):
    """No image was built; the message says why and what to do."""


def builder() -> list[str]:
    """The command of the first tool that is installed and has what it needs; ImageError when none does."""
    for tool in ("docker", "podman", "buildah"):
        # A docker client without its engine is no use; it says so at once.
        if shutil.which(tool) and subprocess.run([tool, "info"], capture_output=True, check=False).returncode == 0:
            return [tool]
    raise ImageError("none of docker, podman and buildah works here; install one (Debian: apt-get install buildah)")


def build_command(
    tool: Sequence[str], model: str, base_image: str = "", platform: str = "", tag: str = ""
) -> list[str]:
    """The whole command line. PIP_CONFIG_FILE and PIP_CERT of this environment reach the build as secrets."""
    command = [
        *tool,
        "build",
        "-f",
        "infra/Dockerfile",
        "-t",
        tag or f"zeroserve:{model}",
        "--build-arg",
        f"MODEL={model}",
    ]
    if tool[0] != "docker":
        command += ["--format", "docker"]  # OCI's own format has no health check
    if tool[0] == "buildah" and not (shutil.which("crun") or shutil.which("runc")):
        command += ["--isolation", "chroot"]
    if base_image:
        command += ["--build-arg", f"BASE_IMAGE={base_image}"]
    if platform:
        command += ["--platform", platform]
    for secret, variable in (("pip.conf", "PIP_CONFIG_FILE"), ("ca.pem", "PIP_CERT")):
        if path := os.environ.get(variable):
            command += ["--secret", f"id={secret},src={path}"]
    return [*command, "."]


def main() -> int:
    """0 when the image was built; 1 and a message when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="name of a prepared model in models/")
    parser.add_argument("--base-image", default="", help="another Python 3.11 or newer on glibc 2.28 or newer")
    parser.add_argument("--platform", default="", help="linux/amd64 or linux/arm64; empty: this machine's")
    arguments = parser.parse_args()
    try:
        if not (ROOT / "models" / arguments.model / "prepared").is_dir():
            raise ImageError(
                f"models/{arguments.model} is not prepared; run: python -m models.prepare {arguments.model}"
            )
        command = build_command(builder(), arguments.model, arguments.base_image, arguments.platform)
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
