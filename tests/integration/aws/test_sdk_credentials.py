"""Credentials that only boto3's chain finds: a profile of files, a web identity by moto's STS, none at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from function.aws import sdk_credentials
from function.aws.credentials import Credentials
from function.aws.errors import AwsError
from function.aws.s3 import S3
from function.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


pytestmark = pytest.mark.usefixtures("without_credentials")


def test_a_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[other]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    monkeypatch.setenv("AWS_PROFILE", "other")
    found = Credentials(Settings({}))
    assert found.current() == ("AK", "SK", "")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert found.current() == ("AK", "SK", "")  # kept


def test_a_web_identity(
    moto: str, client: Callable[[str], Any], bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on EKS: STS gives credentials for a token, and the signer's requests are made with those."""
    (tmp_path / "token").write_text("a token of the cluster")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    settings = Settings({"AWS_ENDPOINT_URL": moto})
    key, secret, token = Credentials(settings).current()
    assert key.startswith("ASIA")
    assert secret
    assert token
    client("s3").put_object(Bucket=bucket, Key="key", Body=b"content")
    assert S3(settings).get(bucket, "key") == b"content"


def test_the_chain_is_asked_again_and_its_failure_uses_up_what_it_gave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    found = Credentials(Settings({}))
    monkeypatch.setattr("function.aws.credentials._ASK_SDK_AGAIN", -1.0)
    assert found.current() == ("AK", "SK", "")
    monkeypatch.setattr(sdk_credentials.SdkCredentials, "_ask", lambda _: 1 / 0)
    assert found.current() == ("AK", "SK", "")  # the old ones are good for minutes


def refusal() -> AwsError:
    with pytest.raises(AwsError, match="there are no AWS credentials: give the function a role") as caught:
        Credentials(Settings({})).current()
    assert not caught.value.temporary
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        assert name in str(caught.value)
    return caught.value


def test_none_anywhere() -> None:
    assert "boto3's chain (profiles, web identity, instance metadata, ...) found none" in str(refusal())


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "chain failed: ProfileNotFound: The config profile (nobody) could not be found" in str(refusal())


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    assert str(refusal()).endswith("profiles, web identity and instance metadata, is not installed")


def test_a_chain_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(sdk_credentials, "SECONDS", 0.2)
    monkeypatch.setattr(sdk_credentials.SdkCredentials, "_ask", lambda _: threading.Event().wait(60))
    assert "no answer within 0.2 s" in str(refusal())


def test_who_has_keys_imports_none_of_it() -> None:
    program = f"""if True:
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from function.aws.credentials import Credentials
        from function.settings import Settings
        Credentials(Settings({{"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}})).current()
        print(*(name for name in sys.modules if "boto" in name or "sdk_credentials" in name or name == "http.client"))
    """
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
