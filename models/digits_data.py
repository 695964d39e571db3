"""Scikit-learn's handwritten digits, split once and for all into training and held-out pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The split is part of the model: other numbers here would let training see the pictures it is judged by.
HELD_OUT_SHARE = 0.2
SPLIT_SEED = 0


def _split() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    digits = load_digits()
    # The data counts ink from 0 to 16; a grey picture has 0 to 255.
    pictures = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    train, held, train_labels, held_labels = train_test_split(
        pictures, labels, test_size=HELD_OUT_SHARE, stratify=labels, random_state=SPLIT_SEED
    )
    return train, held, train_labels, held_labels


def to_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a grey picture, uint8 [height, width] with light ink on black, as a PNG file of mode L."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG")
    return out.getvalue()


def training() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the 1437 training pictures, uint8 [1437, 8, 8], and their labels, int64 [1437]."""
    train, _, labels, _ = _split()
    return train, labels


def held_out() -> tuple[list[bytes], list[int]]:
    """Return the 360 pictures that training never sees, as 8x8 grey PNG files, and their labels (0 to 9)."""
    _, held, _, labels = _split()
    return [to_png(picture) for picture in held], [int(label) for label in labels]
