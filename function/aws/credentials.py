"""AWS credentials: of the environment, as on Lambda, or of the endpoint that SnapStart, ECS and EKS offer.

The endpoint: docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html.
"""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.settings import Settings

_TEMPORARY = frozenset((429, 500, 502, 503, 504))
_RENEW_BEFORE = 300.0  # seconds before they end
_ECS_HOST = "http://169.254.170.2"
_SECONDS = 5.0  # for each step with the endpoint, which is on the same machine


class AwsError(Exception):
    """AWS refused or did not answer: `status` is HTTP's, 0 without an answer; `code` is AWS's name of the error."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def temporary(self) -> bool:
        """Whether the same request may well succeed a moment later."""
        return self.status == 0 or self.status in _TEMPORARY


class Credentials:
    """Key, secret and session token, renewed when they end. Any number of threads may ask."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._found: tuple[str, str, str] | None = None
        self._end = 0.0

    def current(self) -> tuple[str, str, str]:
        """AwsError when there are none, with what would give some."""
        settings = self._settings
        if settings.aws_access_key_id and settings.aws_secret_access_key:
            return settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token
        with self._lock:
            if self._found is None or time.time() > self._end - _RENEW_BEFORE:
                self._found, self._end = _from_endpoint(settings)
            return self._found


def _from_endpoint(settings: Settings) -> tuple[tuple[str, str, str], float]:
    """The credentials and when they end, in seconds since 1970."""
    import calendar
    import http.client
    import json
    from urllib.parse import urlsplit

    url = settings.container_credentials_full_uri
    if not url and settings.container_credentials_relative_uri:
        url = _ECS_HOST + settings.container_credentials_relative_uri
    if not url:
        mend = "give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise AwsError(f"there are no AWS credentials: {mend}", 403)
    try:
        token = settings.container_authorization_token
        if settings.container_authorization_token_file:  # EKS renews it, so it is read each time
            with open(settings.container_authorization_token_file, encoding="ascii") as file:
                token = file.read().strip()
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=_SECONDS)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request("GET", target, headers={"Authorization": token} if token else {})
        found = json.loads(connection.getresponse().read())
        connection.close()
        end = calendar.timegm(time.strptime(found["Expiration"][:19], "%Y-%m-%dT%H:%M:%S"))
        return (found["AccessKeyId"], found["SecretAccessKey"], found["Token"]), float(end)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise AwsError(f"the credentials endpoint {url} gave no credentials: {error!r}") from error
