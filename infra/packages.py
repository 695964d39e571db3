"""The zips of a deployment in S3: in a bucket of the caller's own account, with the content that they have here."""

from __future__ import annotations

import base64
import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from pathlib import Path


class DeployError(Exception):
    """Nothing was put before callers; the message says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Package:
    """A zip in S3; `sha256` is of its bytes, in base64 as S3 and Lambda write it."""

    key: str
    sha256: str


class Bucket:
    """A bucket that has to belong to the account `owner`: S3 refuses every call here when it does not.

    Names of buckets are the world's. One that somebody else has made, or makes after this account deleted its own,
    would otherwise take the code, and give Lambda other code in its place.
    """

    def __init__(self, s3: Any, name: str, owner: str) -> None:
        self._s3 = s3
        self.name = name
        self._place = {"Bucket": name, "ExpectedBucketOwner": owner}
        self._owner = owner

    def ensure(self, region: str) -> None:
        """Makes the bucket when it is not there; DeployError when it is another account's."""
        try:
            self._s3.head_bucket(**self._place)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("403", "AccessDenied"):
                raise DeployError(
                    f"the bucket {self.name} does not belong to the account {self._owner}, or these credentials may "
                    "not use it; give another --bucket, which is made when it is not there"
                ) from error
            if code not in ("404", "NoSuchBucket"):
                raise
            # The one call without an expected owner: what it makes is the caller's, else it fails.
            place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            self._s3.create_bucket(Bucket=self.name, **place)

    def upload(self, path: Path) -> Package:
        """The file as an object whose key has its hash in it; sent unless S3 has these very bytes already.

        An object that is something else is overwritten, not refused: its name says what belongs there, functions and
        layers have copies of their own, and a refusal would leave no way on but to delete it by hand.
        """
        content = path.read_bytes()
        digest = hashlib.sha256(content)
        package = Package(
            f"zeroserve/{path.stem}-{digest.hexdigest()[:32]}.zip", base64.b64encode(digest.digest()).decode()
        )
        found = self._sha256(package.key)
        if found != package.sha256:
            if found is not None:
                print(
                    f"s3://{self.name}/{package.key} is not what its name says "
                    f"(sha256 {found or 'not recorded'}, {package.sha256} expected) and is uploaded anew",
                    file=sys.stderr,
                )
            # S3 refuses bytes that do not have this hash, and keeps it for the next run.
            checksum = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": package.sha256}
            self._s3.put_object(Key=package.key, Body=content, **checksum, **self._place)
        return package

    def _sha256(self, key: str) -> str | None:
        """What S3 worked out when the object came, "" when it was not asked to; None without an object."""
        try:
            head = self._s3.head_object(Key=key, ChecksumMode="ENABLED", **self._place)
        except ClientError as error:
            # 403 is S3's word for "not there" to those who may not list: whether they may write is seen next.
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "403"):
                return None
            raise
        return str(head.get("ChecksumSHA256", ""))


def check_taken(what: str, found: str, package: Package, bucket: Bucket) -> None:
    """DeployError unless Lambda, which fetches from S3 itself and asks for no owner, took these very bytes."""
    if found != package.sha256:
        raise DeployError(
            f"{what} has code with the sha256 {found}, not the {package.sha256} that was uploaded: something else "
            f"writes to s3://{bucket.name}/{package.key}. The alias was not moved; see who may write there, then "
            "deploy again"
        )
