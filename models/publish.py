"""Uploads a prepared model to S3 or a store like it, from where functions fetch it by MODEL_URI.

    python -m models.publish digits s3://bucket/models
    AWS_ENDPOINT_URL=http://127.0.0.1:9000 python -m models.publish path/to/folder s3://bucket/models

The key has the model's version and a fingerprint of its build, so nothing that is published ever changes: a new build
has a new key, and an old one can be gone back to.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from tqdm import tqdm

from function.aws.s3 import parse_uri
from models import manifest
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.manifest import Manifest


def publish(model: Manifest, uri: str) -> str:
    """Uploads model.prepared below `uri` and returns its MODEL_URI.

    ManifestError when the model is not prepared, `uri` is not s3://bucket/prefix, or the store refuses.
    """
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    document = model.prepared / "model.json"
    if not document.is_file():
        raise ManifestError(f"{model.name} is not prepared; run: zeroserve prepare {model.folder}")
    described = json.loads(document.read_bytes())
    try:
        bucket, prefix = parse_uri(uri)
    except ValueError as error:
        raise ManifestError(str(error)) from None
    build = f"{described['version']}-{described['fingerprint'][:12]}"
    key = "/".join(part for part in (prefix.strip("/"), described["name"], build) if part)
    try:
        client = boto3.client("s3")
        with tqdm(_in_order(model.prepared), desc=f"publish {model.name}", unit="file", disable=None) as files:
            for path in files:
                client.upload_file(str(path), bucket, f"{key}/{path.relative_to(model.prepared).as_posix()}")
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise ManifestError(f"{uri} did not take the model: {error}") from error
    return f"s3://{bucket}/{key}/"


def _in_order(prepared: Path) -> list[Path]:
    """All files, those last that name others: whoever finds them finds the others too."""
    files = [path for path in prepared.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: (path.name == "artifact.json", path.name == "model.json", path))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; prints the settings with which a function serves the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of a model here, or a folder with a model.toml")
    parser.add_argument("uri", help="s3://bucket/prefix")
    arguments = parser.parse_args(argv)
    try:
        model = manifest.read(manifest.folder_of(arguments.model))
        found = publish(model, arguments.uri)
    except ManifestError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"MODEL_NAME={model.name} MODEL_URI={found}")


if __name__ == "__main__":
    main()
