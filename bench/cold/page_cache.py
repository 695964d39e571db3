"""Which bytes of which files a process touched: drop them from the kernel's page cache, run, see what came back."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
PAGE = mmap.PAGESIZE


class PageCacheError(RuntimeError):
    """The kernel does not let this user do it; the message says what does."""


def drop_all() -> None:
    """Empties the page cache of the whole machine; PageCacheError for all but root."""
    os.sync()  # only clean pages can be dropped
    try:
        DROP_CACHES.write_text("1\n")
    except OSError as error:
        raise PageCacheError(f"{DROP_CACHES} cannot be written ({error.strerror}): run as root") from error


def touched(folder: Path, run: Callable[[], dict[Path, int]]) -> dict[Path, int]:
    """Bytes of each file that a process read into the page cache or touched in memory, whole pages.

    `run` runs it and returns the files that it is known to have used, with the bytes that it had mapped and touched.
    Those, and the files below `folder`, are dropped before. A page that some other process has mapped cannot be
    dropped and counts only if this one touched it, too. Read-ahead counts, as a lazily loaded image also fetches more
    than was asked for. Files that the kernel tells this user nothing about are left out (mincore(2): they must be the
    user's own or writable).
    """
    files = {path for path in {*run(), *folder.rglob("*")} if path.is_file() and os.access(path, os.W_OK)}
    os.sync()  # only clean pages can be dropped
    for path in files:
        drop(path)
    kept = {path: resident(path) for path in files}
    mapped = run()
    sizes = {path: max(resident(path) - kept[path], min(mapped.get(path, 0), path.stat().st_size)) for path in files}
    return {path: size for path, size in sizes.items() if size > 0}


def drop(path: Path) -> None:
    """Drops a file's clean pages that no process has mapped."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def resident(path: Path) -> int:
    """Bytes of a file in the page cache, whole pages, at most the file's size."""
    size = path.stat().st_size
    if size == 0:
        return 0
    pages = (ctypes.c_ubyte * (-(-size // PAGE)))()
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as view,
    ):
        # Writable only so that ctypes gives its address; private, and nothing is written.
        address = ctypes.addressof(anchor := ctypes.c_char.from_buffer(view))
        status = ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), pages)
        del anchor
    if status:
        raise OSError(ctypes.get_errno(), f"mincore of {path} failed")
    return min(sum(page & 1 for page in pages) * PAGE, size)
