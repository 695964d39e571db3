"""Objects of S3: read whole or in ranges, and written."""

from __future__ import annotations

from function.aws.client import TIMEOUT, Aws, AwsRequest
from function.aws.errors import AwsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from function.settings import Settings

_SCHEME = "s3://"


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of s3://bucket/key; ValueError for anything else."""
    bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not bucket:
        raise ValueError(f"{uri!r} is not of the form s3://bucket/key")
    return bucket, key


class S3:
    """One account's objects, addressed in path style, which every S3-compatible store takes too."""

    def __init__(self, settings: Settings) -> None:
        self._aws = Aws(settings)

    def get(
        self,
        bucket: str,
        key: str,
        limit: int | None = None,
        *,
        admit: Callable[[int], None] | None = None,
        timeout: float = TIMEOUT,
    ) -> bytes:
        """The object's bytes; AwsError, also when it has more than `limit`. `admit` and `timeout` as Aws.request."""
        call = AwsRequest("s3", "GET", f"/{bucket}/{key}")
        return self._aws.request(call, limit=limit, admit=admit, timeout=timeout).body

    def get_range(self, bucket: str, key: str, start: int, size: int, timeout: float) -> bytes:
        """`size` bytes from `start`; AwsError, also when the object ends before. `timeout`: seconds without a byte."""
        headers = {"Range": f"bytes={start}-{start + size - 1}"}
        answer = self._aws.request(AwsRequest("s3", "GET", f"/{bucket}/{key}", headers), timeout=timeout, limit=size)
        if len(answer.body) != size:
            raise AwsError(f"s3://{bucket}/{key} ends at byte {start + len(answer.body)}", 416)
        return answer.body

    def put(self, bucket: str, key: str, body: bytes, content_type: str, metadata: Mapping[str, str]) -> None:
        """Writes the object, all of it or nothing; `metadata` becomes x-amz-meta-* headers, so ASCII only."""
        headers = {"Content-Type": content_type} | {f"x-amz-meta-{name}": text for name, text in metadata.items()}
        self._aws.request(AwsRequest("s3", "PUT", f"/{bucket}/{key}", headers, body))
