"""Objects of S3 that requests name in place of their bytes."""

from __future__ import annotations

import time

from function.aws.errors import AwsError
from function.aws.s3 import S3, parse_uri
from function.errors import PredictError, invalid
from function.limits import LIMITS
from function.messages import LARGE_BODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.limits import Hold
    from function.settings import Settings

_MOST = 64  # objects of one request
_STALL_S = 10.0  # without a byte


class Buckets:
    """The buckets of REFERENCE_BUCKETS, by kept connections; for any number of threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.allowed = {name.strip() for name in settings.reference_buckets.split(",") if name.strip()}
        self.s3 = S3(settings)


class InputObjects:
    """The objects of one request, with its body no larger than a body may be. `close` gives their memory back."""

    def __init__(self, buckets: Buckets, body_length: int, deadline: float | None) -> None:
        """`deadline` by `time.perf_counter`."""
        self._buckets, self._deadline = buckets, deadline
        # What is held for body and objects is never more than there is for one body, so none waits for itself.
        self._left, self._count = LIMITS.largest_body - body_length, 0
        self._holds: list[Hold] = []

    def read(self, uri: str) -> bytes:
        """The object's bytes.

        PredictError INVALID_ARGUMENT for another bucket, or an object that is not there or not this function's to
        read; PAYLOAD_TOO_LARGE for too large a one; UNAVAILABLE where S3 or the memory for it cannot be had.
        """
        bucket, key = self._checked(uri)
        timeout = _STALL_S
        if self._deadline is not None:
            timeout = min(timeout, max(self._deadline - time.perf_counter(), 0.1))
        try:
            body = self._buckets.s3.get(bucket, key, self._left, admit=self._admit, timeout=timeout)
        except AwsError as error:
            if error.status == 413:
                mend = "set MAX_BODY_BYTES, which bounds a request's body and objects together"
                raise PredictError("PAYLOAD_TOO_LARGE", f"{error}; {mend}") from None
            raise PredictError("UNAVAILABLE" if error.temporary else "INVALID_ARGUMENT", f"{uri!r}: {error}") from None
        self._left -= len(body)
        return body

    def _checked(self, uri: str) -> tuple[str, str]:
        if not self._buckets.allowed:
            raise invalid("inputs by 'uri' are off; set REFERENCE_BUCKETS to the buckets whose objects may be named")
        try:
            bucket, key = parse_uri(uri)
        except ValueError as error:
            raise invalid(str(error)) from None
        if bucket not in self._buckets.allowed:
            raise invalid(f"the bucket {bucket!r} is not one of those that REFERENCE_BUCKETS allows")
        if not key:
            raise invalid(f"{uri!r} names no object; expected s3://bucket/key")
        self._count += 1
        if self._count > _MOST:
            raise invalid(f"a request may name {_MOST} objects; send fewer at a time")
        return bucket, key

    def _admit(self, size: int) -> None:
        """Waits for memory for an object whose size has just come, as for a body."""
        if size > LARGE_BODY:
            self._holds.append(LIMITS.hold_copies(size))

    def close(self) -> None:
        """May be repeated."""
        while self._holds:
            self._holds.pop().release()
