"""A picture to send."""

from __future__ import annotations

import io

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A grey PNG of 8 x 8 pixels."""
    out = io.BytesIO()
    Image.frombytes("L", (8, 8), bytes(range(0, 256, 4))).save(out, "PNG")
    return out.getvalue()
