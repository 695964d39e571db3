"""CPUs of other families than this machine's, played by qemu-user."""

from __future__ import annotations

import os
import shutil

from function.engine.artifact import PORTABLE
from function.native import cpu

# A CPU of each family to play under qemu-user; its x86 CPUs have no AVX-512 (qemu 10).
EMULATED = {"x86_64": {"avx2": ("qemu-x86_64", "-cpu", "Haswell")}}


def available() -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Family -> the command that plays its CPU (empty for this one's), and a line for each family left out."""
    machine, here = os.uname().machine, cpu.family(cpu.flags())
    found: dict[str, tuple[str, ...]] = {PORTABLE: ()}
    left_out = []
    for family in cpu.FAMILIES:
        emulator = EMULATED.get(machine, {}).get(family)
        if family == here:
            found[family] = ()
        elif emulator and shutil.which(emulator[0]):
            found[family] = emulator
        elif (family == "neon") == (machine == "aarch64"):
            reason = f"{emulator[0]} is not installed (Debian: qemu-user)" if emulator else "it needs such a CPU"
            left_out.append(f"{family} left out: {reason}; the portable artifact serves there")
    return found, left_out
