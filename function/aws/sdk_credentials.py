"""Credentials that only AWS' own SDK finds: profiles, web identity (EKS), SSO, instance metadata (EC2).

Imported where the environment names neither keys nor an endpoint. botocore comes with boto3, is no dependency of the
function, and costs 110 ms to import beside http.client; it reads its own variables and files (AWS_PROFILE and others).
"""

from __future__ import annotations

from function.aws.errors import AwsError
from function.concurrency import Background

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SECONDS = 10.0  # for everything together: the import, and a role that is assumed over the network
_NONE = (
    "there are no AWS credentials: give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI and _RELATIVE_URI are not set either, and "
)


class SdkCredentials:
    """What botocore found, kept, as it renews them itself."""

    def __init__(self) -> None:
        self._found: Any = None

    def current(self) -> tuple[str, str, str]:
        """Key, secret and session token (empty: none); AwsError within SECONDS names what was looked for."""
        try:
            found: tuple[str, str, str] = Background(self._ask, SECONDS).result()
        except AwsError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever botocore meets, its message says what it tried)
            raise AwsError(f"{_NONE}boto3's chain failed: {type(error).__name__}: {error}", 401) from None
        return found

    def _ask(self) -> tuple[str, str, str]:
        if self._found is None:
            try:
                import botocore.session
            except ImportError:
                reason = "boto3, which would look for profiles, web identity and instance metadata, is not installed"
                raise AwsError(_NONE + reason, 403) from None
            self._found = botocore.session.Session().get_credentials()
        if self._found is None:
            raise AwsError(f"{_NONE}boto3's chain (profiles, web identity, instance metadata, ...) found none", 403)
        frozen = self._found.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token or ""
