"""The held-out digits, all of them, through the Lambda handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.digits_data import held_out
from tests.contract.client import new_client

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_held_out_digits(digits_prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client, (pictures, labels) = new_client(digits_prepared), held_out()
    assert len(pictures) == 360
    answers = [client.post("/classify", picture, query="top_k=1").json for picture in pictures]
    found = [int(answer["predictions"][0]["label"]) for answer in answers]
    right = sum(got == label for got, label in zip(found, labels, strict=True))
    with capsys.disabled():
        print(f"\nheld-out digits: {right} of {len(labels)} right, {right / len(labels):.2%}")
    wrong = [
        (number, label, got) for number, (label, got) in enumerate(zip(labels, found, strict=True)) if label != got
    ]
    assert right / len(labels) >= 0.985, f"(number, label, answer): {wrong}"
