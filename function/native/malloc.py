"""How glibc's malloc hands out memory and gives it back: Lambda's kinds of machine want opposites."""

from __future__ import annotations

LARGE = 1024 * 1024  # bytes of a buffer that is worth a mapping of its own
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # malloc.h


def return_large_buffers() -> None:
    """Where many processes share one machine: each large buffer goes back to the system when it is freed.

    By default glibc raises its limit with the largest buffer so far, and keeps them.
    """
    _mallopt({_M_MMAP_THRESHOLD: LARGE})


def grow_in_large_steps() -> None:
    """Where a process has its machine to itself: the heap grows by 16 MB at a time and is not given back.

    The event, the body, the parser and ORT allocate 60 MB in a cold start: in the heap they touch its pages once, in
    mappings of their own each touches new ones. 3 of 73 ms with 3 MB of JSON, the import of ctypes included, so this is
    called before the event is read; a warm request is as fast as before.
    """
    _mallopt({_M_TOP_PAD: 16 << 20, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20})


def share_one_heap() -> None:
    """For a few threads side by side; called before the second of them begins.

    By default glibc gives each thread a heap of its own, and each keeps what is free in it.
    """
    _mallopt({_M_ARENA_MAX: 1})


def give_back() -> None:
    """Returns freed memory to the system, that between buffers still in use too; 1 ms, and a few for each free GB."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim:
        trim(0)


def _mallopt(values: dict[int, int]) -> None:
    import ctypes  # 2 ms, and needed by ORT

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt:
        for parameter, value in values.items():
            mallopt(parameter, value)
