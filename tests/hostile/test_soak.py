"""The soak's traffic for a few seconds: nothing but answers, and its files are written. Drift takes a longer run."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from tests.hostile import soak
from tests.hostile.soak import Sample

if TYPE_CHECKING:
    from pathlib import Path


def test_mixed_traffic_is_answered(digits_prepared: object, tmp_path: Path) -> None:
    seen = soak.run(100_000, 8, 1, cache=True)
    assert not seen.wrong
    assert seen.statuses[200] > 50
    soak.write(seen.samples, tmp_path / "soak")
    with (tmp_path / "soak.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(seen.samples) > 2
    assert "<polyline" in (tmp_path / "soak.svg").read_text()


def test_the_verdict_knows_a_leak_from_noise() -> None:
    def rows(rate: float, threads: int = 8) -> list[Sample]:
        return [
            Sample(t, 100 * t, 100 + rate * t + t % 3 / 10, 30 + t % 7, 8 if t < 60 else threads) for t in range(90)
        ]

    assert soak.verdict(rows(0), 0.02) == []
    assert len(soak.verdict(rows(0.2), 0.02)) == 1
    assert len(soak.verdict(rows(0, threads=9), 0.02)) == 1
