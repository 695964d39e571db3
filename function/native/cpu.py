"""What the CPU can do, asked of the CPU itself, and how many of them there really are."""

from __future__ import annotations

import os
import sys

# (flag, index of the leaf in glibc's table, index in [eax, ebx, ecx, edx], bit); Intel SDM volume 2, CPUID
_X86_FLAGS = (
    ("avx", 0, 2, 28),
    ("fma", 0, 2, 12),
    ("avx2", 1, 1, 5),
    ("avx512f", 1, 1, 16),
    ("avx512dq", 1, 1, 17),
    ("avx512bw", 1, 1, 30),
    ("avx512vl", 1, 1, 31),
    ("avx512_vnni", 1, 2, 11),
    ("avx_vnni", 6, 0, 4),
)
# The layout that ORT's MLAS picks by these flags is what an artifact of the family holds; first match wins.
FAMILIES = {
    "avx512": ("avx512f", "avx512dq", "avx512bw", "avx512vl", "avx2", "fma"),
    "avx2": ("avx2", "fma"),
    "neon": ("asimd",),
}
# Of 8-bit integers, for CPUs of any family with VNNI; others are slower with it, and their sums of products saturate.
INT8 = "avx512vnni-int8"


_known: frozenset[str] | None = None


def restored_on(available: frozenset[str]) -> None:
    """From now on `flags` answers with these: the process was restored on another CPU than it started on."""
    global _known  # noqa: PLW0603  (the CPU is the process's)
    _known = available


def flags() -> frozenset[str]:
    """The flags above that CPU and operating system both allow; empty where nobody can tell. Asked once."""
    global _known  # noqa: PLW0603
    if _known is None:
        _known = _ask()
    return _known


def _ask() -> frozenset[str]:
    """x86: glibc's `__x86_get_cpuid_feature_leaf` (sys/platform/x86.h, glibc >= 2.33) asks by CPUID and XGETBV as MLAS
    does, so an emulator answers for the CPU it plays; /proc/cpuinfo would name the host's. Not for each request: ctypes
    keeps the types that are made here for ever.
    """
    if sys.platform != "linux":
        return frozenset()
    if os.uname().machine == "aarch64":
        return frozenset(("asimd",))  # part of the base architecture
    import ctypes  # loaded for ORT anyway

    class Leaf(ctypes.Structure):
        _fields_ = (("cpuid", ctypes.c_uint32 * 4), ("active", ctypes.c_uint32 * 4))

    try:
        leaf = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except AttributeError:
        return frozenset()
    leaf.argtypes, leaf.restype = (ctypes.c_uint,), ctypes.POINTER(Leaf)
    return frozenset(name for name, index, register, bit in _X86_FLAGS if leaf(index)[0].active[register] >> bit & 1)


def family(available: frozenset[str]) -> str | None:
    """The artifact family for a CPU with these flags; None: only the portable artifact is safe."""
    found = next((name for name, needed in FAMILIES.items() if available.issuperset(needed)), None)
    # MLAS lays tensors out for AVX-512 as soon as it sees avx512f, with or without the rest that its kernels use.
    return None if found == "avx2" and "avx512f" in available else found


def has_vnni(available: frozenset[str]) -> bool:
    """Whether a CPU with these flags is one for the artifact INT8."""
    return not available.isdisjoint(("avx512_vnni", "avx_vnni"))


def count(function_memory_mb: int) -> int:
    """CPUs that this process may use at once: affinity, cgroup quota, and Lambda's share (1,769 MB for each vCPU)."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            counts.append(-(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here
    if function_memory_mb:
        counts.append(-(-function_memory_mb // 1769))
    return max(1, min(counts))
