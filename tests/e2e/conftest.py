"""What the tests here send."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from bench import payloads
from models import manifest

if TYPE_CHECKING:
    from bench.payloads import Payload


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A grey PNG of 8 x 8 pixels."""
    out = io.BytesIO()
    Image.frombytes("L", (8, 8), bytes(range(0, 256, 4))).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def payload() -> Payload:
    """A tensor as 3 MB of nested JSON, for the embedded model, and the answer that is right."""
    (made,) = payloads.ladder(manifest.read(manifest.folder_of("digits")), ["json-nested"])
    return made
