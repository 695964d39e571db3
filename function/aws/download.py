"""Objects of S3 into files, in ranges on several connections at once."""

from __future__ import annotations

import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from function.aws.s3 import S3

RANGE = 4 * 1024 * 1024  # bytes; S3 gives one connection 50 to 90 MB/s
CONNECTIONS = 6


def download(
    s3: S3, bucket: str, files: Sequence[tuple[str, str, dict[str, Any]]], stall: float, deadline: float
) -> None:
    """Writes each object (key, path, {"bytes": its size}) to its path; the first problem ends all.

    AwsError when S3 does not give the bytes, OSError when they cannot be written; TimeoutError past `deadline`
    (monotonic), however slowly bytes still come. `stall`: seconds without a byte.
    """
    ranges: list[tuple[str, str, int, int]] = []
    problems: list[Exception] = []
    targets = _Targets()

    def work() -> None:
        while ranges and not problems and time.monotonic() < deadline:
            try:
                key, path, start, size = ranges.pop()
                targets.write(path, s3.get_range(bucket, key, start, size, stall), start)
            except IndexError:  # another thread was faster
                return
            except Exception as error:  # noqa: BLE001  (raised again by the thread that waits)
                problems.append(error)

    try:
        for key, path, row in files:
            targets.open(path, row["bytes"])
            ranges += [(key, path, at, min(RANGE, row["bytes"] - at)) for at in range(0, row["bytes"], RANGE)]
        # Daemons: a server that dribbles must not keep the process from ending.
        threads: list[threading.Thread] = []
        for _ in range(min(CONNECTIONS, len(ranges))):
            threads.append(threading.Thread(target=work, daemon=True))
            try:
                threads[-1].start()
            except RuntimeError:  # no memory for one more
                threads.pop()
                break
        if not threads:
            work()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    finally:
        targets.close()
    if problems:
        raise problems[0]
    if ranges or any(thread.is_alive() for thread in threads):
        raise TimeoutError("S3 was too slow")


class _Targets:
    """The files that are written, until `close`: what a late thread brings is then dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}

    def open(self, path: str, size: int) -> None:
        """Takes the room for all its bytes: a full disk is known before anything is fetched."""
        self._files[path] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        if size:
            os.posix_fallocate(self._files[path], 0, size)

    def write(self, path: str, content: bytes, start: int) -> None:
        view = memoryview(content)
        with self._lock:
            while view and path in self._files:
                written = os.pwrite(self._files[path], view, start)
                view, start = view[written:], start + written

    def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                os.close(file)
            self._files.clear()
