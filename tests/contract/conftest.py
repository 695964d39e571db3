"""One execution environment over the digits for all contract tests, and a picture to send."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.contract.client import Client, new_client

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def digits(digits_prepared: Path) -> Client:
    return new_client(digits_prepared, ADMIN_KEY="sesame")


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A grey PNG of 8 x 8 pixels."""
    out = io.BytesIO()
    Image.frombytes("L", (8, 8), bytes(range(0, 256, 4))).save(out, "PNG")
    return out.getvalue()
