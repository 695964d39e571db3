"""CPU flags as the CPU tells them, the artifact family that they mean, and how many CPUs there really are."""

from __future__ import annotations

import ctypes
import io
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from function.native import cpu

if TYPE_CHECKING:
    from collections.abc import Callable

AVX2 = {"avx", "fma", "avx2"}
AVX512 = {*AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl"}


@pytest.fixture(autouse=True)
def not_asked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process keeps the first answer; each test here asks anew."""
    monkeypatch.setattr(cpu, "_known", None)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags of x86")
def test_flags_are_those_of_the_kernel() -> None:
    """/proc/cpuinfo lists what CPU and kernel allow; under qemu it would be the host's, here it is ours."""
    line = re.search(r"(?m)^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text())
    assert line
    assert cpu.flags() == set(line[1].split()) & {*AVX512, "avx512_vnni", "avx_vnni"}


@pytest.mark.parametrize(
    ("flags", "family"),
    [
        (AVX512, "avx512"),
        (AVX512 | {"something_new"}, "avx512"),
        (AVX2, "avx2"),
        (AVX2 - {"fma"}, None),
        (AVX2 - {"avx2"}, None),
        (set(), None),
        ({"asimd"}, "neon"),
        # avx512f alone makes MLAS lay out for AVX-512, but its kernels lack the rest: neither artifact is safe.
        (AVX2 | {"avx512f"}, None),
        (AVX512 - {"avx512vl"}, None),
        (AVX512 - {"avx512f"}, "avx2"),
        (AVX512 - {"fma"}, None),
    ],
    ids=str,
)
def test_family(flags: set[str], family: str | None) -> None:
    assert cpu.family(frozenset(flags)) == family


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        (AVX512, False),
        (AVX512 | {"avx512_vnni"}, True),
        (AVX2 | {"avx_vnni"}, True),
        ({"asimd"}, False),
        (set(), False),
    ],
    ids=str,
)
def test_vnni(flags: set[str], has: bool) -> None:
    assert cpu.has_vnni(frozenset(flags)) == has


def test_flags_on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", "aarch64")))
    assert cpu.family(cpu.flags()) == "neon"


def test_flags_elsewhere_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert cpu.flags() == frozenset()


def test_flags_without_glibc_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", "x86_64")))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert cpu.flags() == frozenset()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str | None], None]:
    """Pretends an affinity of some CPUs and the content of cgroup v2's cpu.max (None: there is no such file)."""

    def pretend(cpus: int, quota: str | None) -> None:
        def open_quota(path: str, **_: str) -> io.StringIO:
            assert path == "/sys/fs/cgroup/cpu.max"
            if quota is None:
                raise FileNotFoundError(path)
            return io.StringIO(quota)

        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)), raising=False)
        monkeypatch.setattr(cpu, "open", open_quota, raising=False)

    return pretend


@pytest.mark.parametrize(
    ("cpus", "quota", "memory", "expected"),
    [
        (8, None, 0, 8),
        (8, "max 100000\n", 0, 8),
        (8, "200000 100000\n", 0, 2),
        (8, "150000 100000\n", 0, 2),  # one and a half: the second is worth having
        (8, "50000 100000\n", 0, 1),
        (1, "400000 100000\n", 0, 1),
        (8, "unreadable", 0, 8),
        (6, None, 128, 1),
        (6, None, 1769, 1),
        (6, None, 1770, 2),
        (6, None, 3538, 2),
        (6, None, 10240, 6),
        (2, None, 10240, 2),
    ],
)
def test_count(
    cpus: int, quota: str | None, memory: int, expected: int, machine: Callable[[int, str | None], None]
) -> None:
    machine(cpus, quota)
    assert cpu.count(memory) == expected


def test_count_follows_the_affinity_of_this_process() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cpu.count(0) == 1
    finally:
        os.sched_setaffinity(0, before)
