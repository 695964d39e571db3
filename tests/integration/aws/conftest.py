"""moto's server for all tests here, a bucket for each, and the function's environment for both."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from tests.integration.aws.servers import VALKEY, Proxy, Valkey, moto_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def client(moto: str) -> Callable[[str], Any]:
    """boto3's client for a service."""

    def make(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=moto,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 1}),
        )

    return make


@pytest.fixture(scope="session")
def s3(client: Callable[[str], Any]) -> Any:
    return client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    """A new bucket of this test alone."""
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def variables(moto: str, tmp_path: Path) -> dict[str, str]:
    """What tells the function where AWS is."""
    return {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "MODEL_CACHE": str(tmp_path / "fetched"),
    }


@pytest.fixture
def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """boto3's chain finds nothing of this machine; tests may write `credentials` and `config` into `tmp_path`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def proxy(moto: str) -> Iterator[Proxy]:
    made = Proxy(moto)
    yield made
    made.close()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    if VALKEY is None:
        pytest.skip("neither valkey-server nor redis-server is installed (Debian: apt-get install redis-server)")
    server = Valkey(str(tmp_path))
    yield server
    server.stop()
