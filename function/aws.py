"""Signed requests to AWS (Signature Version 4) over http.client: 70 ms to import where boto3 takes 450.

The signature: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
import time
from urllib.parse import quote, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from function.settings import Settings

ATTEMPTS = 3
_FIRST_WAIT = 0.1  # seconds before the second attempt, four times as many before the third
_TEMPORARY = frozenset((429, 500, 502, 503, 504))
_RENEW_BEFORE = 300.0  # seconds before credentials end
_ECS_HOST = "http://169.254.170.2"


class AwsError(Exception):
    """AWS refused or did not answer: `status` is HTTP's, 0 without an answer; `code` is AWS's name of the error."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def temporary(self) -> bool:
        """Whether the same request may well succeed a moment later."""
        return self.status == 0 or self.status in _TEMPORARY


class Answer:
    """A response of AWS: `headers` have lower-case names."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class Aws:
    """The services of one region, by kept connections. `request` may be called from any number of threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._tls: ssl.SSLContext | None = None
        self._credentials: tuple[str, str, str] | None = None
        self._credentials_end = 0.0
        self._lock = threading.Lock()

    def request(  # noqa: PLR0913  (a request has as many parts)
        self,
        service: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes = b"",
        timeout: float = 10.0,
        attempts: int = ATTEMPTS,
        limit: int | None = None,
    ) -> Answer:
        """The answer to a request that succeeds (2xx); `path` is not yet percent-encoded.

        `timeout` is in seconds without a byte; a body of more than `limit` bytes is not read. AwsError otherwise.
        """
        wait = _FIRST_WAIT
        for attempt in range(1, attempts + 1):
            try:
                return self._try(service, method, path, headers, body, timeout, limit)
            except AwsError as error:
                if not error.temporary or attempt == attempts:
                    raise
            time.sleep(wait)
            wait *= 4
        raise AssertionError("no attempt was asked for")

    def _try(  # noqa: PLR0913
        self,
        service: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout: float,
        limit: int | None,
    ) -> Answer:
        endpoint = self._endpoint(service)
        host = urlsplit(endpoint).netloc
        target = quote(path, safe="/-_.~")
        signed = self._signed(service, method, target, {**headers, "Host": host}, body)
        idle = self._idle.setdefault(endpoint, [])
        connection = idle.pop() if idle else self._connect(endpoint)
        try:
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.timeout = timeout
            connection.request(method, target, body, signed)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            if limit is not None and int(found.get("content-length", "0")) > limit:
                raise AwsError(f"{path} has {found['content-length']} bytes, at most {limit} are taken", 413)
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise AwsError(f"{endpoint} did not answer {method} {path}: {error!r}") from error
        except AwsError:
            connection.close()
            raise
        idle.append(connection)
        if response.status >= 300:
            raise _refusal(service, method, path, Answer(response.status, found, content))
        return Answer(response.status, found, content)

    def _endpoint(self, service: str) -> str:
        if self._settings.aws_endpoint_url:
            return self._settings.aws_endpoint_url.rstrip("/")
        region = self._settings.aws_region
        return f"https://{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"

    def _connect(self, endpoint: str) -> http.client.HTTPConnection:
        url = urlsplit(endpoint)
        if url.scheme == "http":
            return http.client.HTTPConnection(url.netloc)
        import ssl

        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()  # 50 ms: once for all connections
        return http.client.HTTPSConnection(url.netloc, context=self._tls)

    def _signed(
        self, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """`headers` with those that authenticate the request."""
        key, secret, token = self._current_credentials()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        digest = hashlib.sha256(body).hexdigest()
        found = {**headers, "X-Amz-Date": stamp, "X-Amz-Content-Sha256": digest}
        if token:
            found["X-Amz-Security-Token"] = token
        lower = sorted((name.lower(), " ".join(value.split())) for name, value in found.items())
        names = ";".join(name for name, _ in lower)
        canonical = "\n".join(
            (method, target, "", *(f"{name}:{value}" for name, value in lower), "", names, digest),
        )
        scope = f"{stamp[:8]}/{self._settings.aws_region}/{service}/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        signing = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            signing = hmac.digest(signing, part.encode(), "sha256")
        signature = hmac.digest(signing, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hex()
        credential = f"Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return found | {"Authorization": f"AWS4-HMAC-SHA256 {credential}"}

    def _current_credentials(self) -> tuple[str, str, str]:
        """Key, secret and session token: of the environment, else of the container's credentials endpoint."""
        settings = self._settings
        if settings.aws_access_key_id and settings.aws_secret_access_key:
            return settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token
        with self._lock:
            if self._credentials is None or time.time() > self._credentials_end - _RENEW_BEFORE:
                self._credentials, self._credentials_end = _container_credentials(settings)
            return self._credentials


def _container_credentials(settings: Settings) -> tuple[tuple[str, str, str], float]:
    """What Lambda SnapStart, ECS and EKS Pod Identity offer by HTTP, and when it ends (seconds since 1970).

    docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    import calendar

    url = settings.container_credentials_full_uri
    if not url and settings.container_credentials_relative_uri:
        url = _ECS_HOST + settings.container_credentials_relative_uri
    if not url:
        raise AwsError(
            "there are no AWS credentials: give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            403,
        )
    token = settings.container_authorization_token
    try:
        if settings.container_authorization_token_file:
            with open(settings.container_authorization_token_file, encoding="ascii") as file:
                token = file.read().strip()
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=5)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Authorization": token} if token else {})
        found = json.loads(connection.getresponse().read())
        connection.close()
        end = calendar.timegm(time.strptime(found["Expiration"][:19], "%Y-%m-%dT%H:%M:%S"))
        return (found["AccessKeyId"], found["SecretAccessKey"], found["Token"]), float(end)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise AwsError(f"the credentials endpoint {url} gave no credentials: {error!r}") from error


def _refusal(service: str, method: str, path: str, answer: Answer) -> AwsError:
    text = answer.body[:2000].decode(errors="replace")
    code = _between(text, "<Code>", "</Code>") or _between(text, '"__type":"', '"').rpartition("#")[2]
    message = f"{service} answered {method} {path} with {answer.status} {code}".rstrip()
    region = answer.headers.get("x-amz-bucket-region")
    if answer.status in (301, 307, 400) and region:
        message += f"; the bucket is in {region}: use one of the function's own region"
    elif answer.status == 403:
        message += "; the function's role must allow it (without s3:ListBucket a missing object looks the same)"
    return AwsError(message, answer.status, code)


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]
