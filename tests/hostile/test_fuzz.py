"""A short run of the fuzzer, without and with the result cache; HOSTILE_SEED repeats one."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.hostile.server_process import ROOT

# The allocator's steps are not yet behind a short run, so it may grow by more than a long one. And a machine that
# others use may take seconds for an answer: that is no hang.
LIMITS = ("--cases", "15000", "--seconds", "15", "--warm-up", "4000", "--growth", "0.15", "--slow", "20")


@pytest.mark.parametrize("cache", [False, True], ids=["without-cache", "with-cache"])
def test_both_entries_stand_what_the_fuzzer_sends(
    digits_prepared: object, cache: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    seed = os.environ.get("HOSTILE_SEED") or str(random.SystemRandom().randrange(1 << 32))
    argv = [sys.executable, "-m", "tests.hostile.fuzz", "--seed", seed, *LIMITS, *(["--cache"] if cache else [])]
    code = subprocess.run(argv, cwd=ROOT, check=False).returncode
    words = capfd.readouterr().out
    assert code == 0, words[-8000:]
