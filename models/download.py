"""Brings a part file to its full size from one HTTP source, going on where it ends.

The rest is asked for by Range (RFC 9110 section 14). Size and sha256 are pinned, so a part is continued from
whichever source answers and no ETag is compared: the checksum tells in the end, and a continued download that
fails it is fetched once more from the start.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from function.observability.telemetry import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from io import FileIO

    from models.pinned import File

CHUNK = 1 << 18
SLOWEST = 1024  # bytes per second; a source slower than this is given up like one that hangs


class SourceError(Exception):
    """One source failed; `temporary` when the same request may succeed later."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(one_line(message))  # it may quote the server
        self.temporary = temporary


def download(url: str, part: FileIO, file: File, timeout: float) -> None:
    """Appends to `part` what is missing of `file` and checks the whole.

    `part` is open unbuffered for reading and appending. It keeps what came when the connection fails, and is
    emptied when its bytes are wrong. `timeout` is in seconds without a byte. Raises SourceError when the
    source fails, OSError when the disk does.
    """
    received = part.seek(0, os.SEEK_END)
    if received >= file.bytes:
        received = part.truncate(0)
    resumed = received > 0
    part.seek(0)
    digest = hashlib.file_digest(part, "sha256")
    print(f"{file.name} from {url}" + (f", from byte {received:,} on" if resumed else ""))
    with tqdm(total=file.bytes, initial=received, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        for position, chunk in _stream(url, received, file.bytes, timeout):
            if position < received:  # the server ignored Range and starts over
                received, resumed, digest = part.truncate(0), False, hashlib.sha256()
                bar.reset()
            received += len(chunk)
            if received > file.bytes:
                part.truncate(0)
                raise SourceError(f"sends more than the pinned {file.bytes:,} bytes", temporary=False)
            digest.update(chunk)
            write_all(part, chunk)
            bar.update(len(chunk))
    if digest.hexdigest() == file.sha256:
        return
    part.truncate(0)
    if not resumed:
        raise SourceError(f"sha256 is {digest.hexdigest()}, {file.sha256} is pinned", temporary=False)
    print("the continued download has a wrong sha256; it is fetched once more from the start")
    download(url, part, file, timeout)


def write_all(part: FileIO, chunk: bytes) -> None:
    """Writes the whole chunk; an unbuffered write may take only the beginning, when the disk gets full."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[part.write(rest) :]


def _stream(url: str, offset: int, size: int, timeout: float) -> Iterator[tuple[int, bytes]]:
    """Yields (position, bytes) from `offset` on, or from 0 where the server ignores Range.

    At most one byte more than `size` is asked for. Whatever fails is a SourceError.
    """
    if not url.startswith(("http://", "https://")):
        raise SourceError("is not an http:// or https:// URL", temporary=False)
    headers = {"User-Agent": "zeroserve"} | ({"Range": f"bytes={offset}-"} if offset else {})
    position = 0
    try:
        with urlopen(Request(url, headers=headers), timeout=timeout) as response:  # noqa: S310 - checked above
            position, total = _extent(response, offset)
            if total not in (None, size):
                raise SourceError(f"offers {total:,} bytes, {size:,} are pinned", temporary=False)
            since, mark = time.monotonic(), position
            while position < size or total is None:
                if not (chunk := response.read1(min(CHUNK, size + 1 - position))):
                    break
                yield position, chunk
                position += len(chunk)
                if (elapsed := time.monotonic() - since) >= timeout:
                    if position - mark < SLOWEST * elapsed:
                        raise SourceError(f"sends less than {SLOWEST:,} bytes per second", temporary=True)
                    since, mark = time.monotonic(), position
    except HTTPError as error:
        error.close()
        temporary = error.code in (408, 429) or error.code >= 500
        raise SourceError(f"HTTP {error.code} {error.reason}", temporary=temporary) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = f"no answer for {timeout:g} s" if isinstance(reason, TimeoutError) else str(reason)
        raise SourceError(text or type(reason).__name__, temporary=True) from error
    if position < size:
        raise SourceError(f"the connection ended after {position:,} of {size:,} bytes", temporary=True)


def _extent(response: HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Where the body starts in the file, and the size of the whole file where the server tells it."""
    if response.status != 206:
        length = response.headers["Content-Length"]
        return 0, None if length is None else int(length)
    header = response.headers["Content-Range"] or "no Content-Range"
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", header)
    if match is None or int(match[1]) != offset:
        raise SourceError(f"{header} came where bytes from {offset:,} on were asked for", temporary=False)
    return offset, None if match[2] == "*" else int(match[2])
