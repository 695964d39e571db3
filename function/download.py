"""Objects of S3 into files, in ranges on several connections at once."""

from __future__ import annotations

import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from function.s3 import S3

RANGE = 4 * 1024 * 1024  # bytes; S3 gives one connection 50 to 90 MB/s
CONNECTIONS = 6


def download(
    s3: S3, bucket: str, files: Sequence[tuple[str, str, dict[str, Any]]], stall: float, deadline: float
) -> None:
    """Writes each object (key, path, {"bytes": its size}) to its path; the first problem ends all.

    AwsError when S3 does not give the bytes, OSError when they cannot be written; TimeoutError past `deadline`
    (monotonic), however slowly bytes still come. `stall`: seconds without a byte.
    """
    opened: list[int] = []
    ranges: list[tuple[str, int, int, int]] = []
    problems: list[Exception] = []

    def work() -> None:
        while not problems and time.monotonic() < deadline:
            try:
                key, file, start, size = ranges.pop()
            except IndexError:
                return
            try:
                _write(file, s3.get_range(bucket, key, start, size, stall), start)
            except Exception as error:  # noqa: BLE001  (raised again by the thread that waits)
                problems.append(error)

    try:
        for key, path, row in files:
            opened.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
            if size := row["bytes"]:
                os.posix_fallocate(opened[-1], 0, size)  # a full disk is known before anything is fetched
            ranges += [(key, opened[-1], at, min(RANGE, size - at)) for at in range(0, size, RANGE)]
        # Daemons: a server that dribbles must not keep the process from ending.
        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(CONNECTIONS, len(ranges)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = any(thread.is_alive() for thread in threads) or (ranges and not problems)
    finally:
        for file in opened:
            os.close(file)
    if problems:
        raise problems[0]
    if late:
        raise TimeoutError("S3 was too slow")


def _write(file: int, content: bytes, start: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, start)
        view, start = view[written:], start + written
