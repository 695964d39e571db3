"""A short run of the fuzzer, without and with the cache; HOSTILE_SEED repeats one, HOSTILE_CASES extends it."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.hostile.server_process import ROOT

CASES = int(os.environ.get("HOSTILE_CASES") or 15_000)
SHORT = CASES <= 20_000
SECONDS = 25 if SHORT else 24 * 3600
WARM_UP = 4_000 if SHORT else 10_000
GROWTH = 0.10 if SHORT else 0.02  # the allocator's steps are not yet behind a short run


@pytest.mark.parametrize("cache", [False, True], ids=["without-cache", "with-cache"])
def test_both_entries_stand_what_the_fuzzer_sends(
    digits_prepared: object, cache: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    seed = os.environ.get("HOSTILE_SEED") or str(random.SystemRandom().randrange(1 << 32))
    limits = ["--cases", str(CASES), "--seconds", str(SECONDS), "--warm-up", str(WARM_UP), "--growth", str(GROWTH)]
    argv = [sys.executable, "-m", "tests.hostile.fuzz", "--seed", seed, *limits, *(["--cache"] if cache else [])]
    code = subprocess.run(argv, cwd=ROOT, check=False).returncode
    words = capfd.readouterr().out
    assert code == 0, words[-8000:]
