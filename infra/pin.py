"""A manifest with an image by digest, on standard output: kubectl never sees a tag, which can be moved after a review.

python -m infra.pin registry.example.com/zeroserve@sha256:DIGEST infra/knative/service.yaml | kubectl apply -f -

The registry's digest is what `docker push` prints, and what `podman push --digestfile FILE` writes.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

BY_DIGEST = re.compile(r"[a-z0-9][\w.:/-]*@sha256:[0-9a-f]{64}")
_LINE = re.compile(r"(?m)^( +(?:- )?image: ).*$")


class PinError(Exception):
    """No manifest was written; the message says what is wrong with what was given."""


def pinned(text: str, image: str) -> str:
    """The manifest with `image` in each of its image lines and nothing else changed."""
    if not BY_DIGEST.fullmatch(image):
        raise PinError(
            f"the image is {image!r}; NAME@sha256: and 64 lower-case hexadecimal digits are expected. "
            "`docker push` prints them; a tag can be moved to another image"
        )
    changed, count = _LINE.subn(lambda found: found[1] + image, text)
    if not count:
        raise PinError("the manifest has no line `image:`")
    return changed


def main() -> int:
    """0 and the manifest, or 1 and the reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="NAME@sha256:DIGEST")
    parser.add_argument("manifest", type=Path)
    arguments = parser.parse_args()
    try:
        print(pinned(arguments.manifest.read_text(encoding="utf-8"), arguments.image), end="")
    except (OSError, PinError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
