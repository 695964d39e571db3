"""Keys of upstreams from moto's Secrets Manager and parameter store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from function.settings import Settings
from function.upstream.failure import UpstreamError
from function.upstream.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def test_a_key_is_fetched_once_and_again_when_it_was_refused(moto: str, client: Callable[[str], Any]) -> None:
    secrets, parameters = client("secretsmanager"), client("ssm")
    secrets.create_secret(Name="llm/key", SecretString="sk-first\n")
    parameters.put_parameter(Name="/llm/key", Value="sk-other", Type="SecureString")
    keys = Keys(Settings({**AWS, "AWS_ENDPOINT_URL": moto}))
    assert keys.known("secretsmanager:llm/key") is None
    assert keys.get("secretsmanager:llm/key") == "sk-first"
    assert keys.get("ssm:/llm/key") == "sk-other"
    secrets.put_secret_value(SecretId="llm/key", SecretString="sk-second")
    assert keys.known("secretsmanager:llm/key") == "sk-first"
    keys.forget("secretsmanager:llm/key")
    assert keys.get("secretsmanager:llm/key") == "sk-second"
    with pytest.raises(UpstreamError, match="could not be read from ssm:/nothing"):
        keys.get("ssm:/nothing")
