"""AWS credentials: of the environment, as on Lambda; of the endpoint that SnapStart, ECS and EKS offer; of boto3."""

from __future__ import annotations

import threading
import time

from function.aws.errors import AwsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.aws.sdk_credentials import SdkCredentials
    from function.settings import Settings

_RENEW_BEFORE = 300.0  # seconds before they end
_RENEW_AGAIN = 30.0  # seconds after a failure, while they are still good
_ASK_SDK_AGAIN = 60.0  # seconds: it renews its own in time


class Credentials:
    """Key, secret and session token, renewed when they end. Any number of threads may ask."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._sdk: SdkCredentials | None = None
        self._found: tuple[str, str, str] | None = None
        self._end = 0.0  # since 1970
        self._end_monotonic = 0.0  # the same, for when somebody turns the clock back
        self._failed_at = 0.0  # monotonic
        self._failure: AwsError | None = None

    def current(self) -> tuple[str, str, str]:
        """AwsError when there are none, with what would give some."""
        settings = self._settings
        if settings.aws_access_key_id and settings.aws_secret_access_key:
            return settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token
        asked = time.monotonic()
        with self._lock:
            found, left = self._found, self._left()
            if found is not None and left > _RENEW_BEFORE:
                return found
            # Threads that waited while another one failed share its failure instead of trying one by one. While the old
            # credentials are good, nobody tries again for _RENEW_AGAIN seconds.
            failure, since = self._failure, asked - (_RENEW_AGAIN if left > 0 else 0)
            if failure is None or self._failed_at < since:
                try:
                    return self._renew()
                except AwsError as error:
                    failure = self._failure = error
                    self._failed_at = time.monotonic()
            if found is None or left <= 0:
                raise AwsError(str(failure), failure.status)
            return found

    def _left(self) -> float:
        """Seconds until they end, by whichever clock says less: one may have been set, the other stands in a freeze."""
        return min(self._end - time.time(), self._end_monotonic - time.monotonic())

    def _renew(self) -> tuple[str, str, str]:
        # Only where the environment has no keys:
        if self._settings.container_credentials_full_uri or self._settings.container_credentials_relative_uri:
            from function.aws.container_credentials import fetch

            self._found, self._end = fetch(self._settings)
        else:
            from function.aws.sdk_credentials import SdkCredentials

            self._sdk = self._sdk or SdkCredentials()
            self._found = self._sdk.current()
            self._end = time.time() + _RENEW_BEFORE + _ASK_SDK_AGAIN
        self._end_monotonic = time.monotonic() + self._end - time.time()
        self._failure = None
        return self._found
