"""`make image`: the container image, built with whichever of docker, podman and buildah works here.

python -m infra.image --model digits --base-image docker.io/library/python:3.13-slim@sha256:... --platform linux/arm64
"""

from __future__ import annotations

import argparse
import json
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


def identity(tool: Sequence[str], tag: str) -> str:
    """What the tool calls the image `tag` that it has built: `digest sha256:...` where that will be the registry's.

    Else `image ID sha256:...`, of the image's configuration, which stays the same wherever the image goes: only docker
    with containerd's store has the manifest that it pushes. The others compress the layers when they push, and the
    digests that they know before are of a manifest that no registry will ever have.
    """
    kind = ["inspect", "--type", "image"] if tool[0] == "buildah" else ["image", "inspect"]
    done = subprocess.run([*tool, *kind, tag], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{tag} was built, but {tool[0]} cannot show it: {done.stderr.strip()}")
    document = json.loads(done.stdout)
    image = document[0] if isinstance(document, list) else document
    if tool[0] == "docker" and image.get("RepoDigests"):
        return "digest " + str(image["RepoDigests"][0]).partition("@")[2]
    number = str(image.get("Id") or image["FromImageID"])
    return f"image ID sha256:{number.removeprefix('sha256:')}"


def build(model: str, base_image: str = "", platform: str = "", tag: str = "") -> str:
    """Builds the image of a prepared model; returns its name and identity. ImageError, after the tool's own words."""
    if not (ROOT / "models" / model / "prepared").is_dir():
        raise ImageError(f"models/{model} is not prepared; run: zeroserve prepare {model}")
    tool, tag = builder(), tag or f"zeroserve:{model}"
    command = build_command(tool, model, base_image, platform, tag)
    if status := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise ImageError(f"{tool[0]} ended with status {status}; its own words above say why")
    return f"{tag}: {identity(tool, tag)}"


def main() -> int:
    """0 when the image was built; 1 and a message when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="name of a prepared model in models/")
    parser.add_argument("--base-image", default="", help="a Python 3.11 or newer on glibc 2.28 or newer")
    parser.add_argument("--platform", default="", help="linux/amd64 or linux/arm64; empty: this machine's")
    arguments = parser.parse_args()
    try:
        print(build(arguments.model, arguments.base_image, arguments.platform))
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("What the push prints as its digest belongs into the manifests: python -m infra.pin NAME@sha256:DIGEST FILE")
    return 0


if __name__ == "__main__":
    sys.exit(main())
