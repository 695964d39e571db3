"""Signed requests to AWS (Signature Version 4) over http.client: 70 ms to import where boto3 takes 450.

The signature: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import threading
import time
from urllib.parse import quote, urlsplit

from function.aws.credentials import Credentials
from function.aws.errors import AwsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from function.settings import Settings

ATTEMPTS = 3
TIMEOUT = 10.0  # seconds without a byte
_FIRST_WAIT = 0.1  # seconds before the second attempt, four times as many before the third


class AwsRequest:
    """A request: `path` is not yet percent-encoded, there is no query."""

    __slots__ = ("body", "headers", "method", "path", "service")

    def __init__(
        self, service: str, method: str, path: str, headers: Mapping[str, str] = {}, body: bytes = b""
    ) -> None:
        self.service, self.method, self.path, self.headers, self.body = service, method, path, headers, body


class AwsResponse:
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
        self._credentials = Credentials(settings)
        self._lock = threading.Lock()

    def __del__(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()

    def request(
        self,
        call: AwsRequest,
        *,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        limit: int | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> AwsResponse:
        """The answer to a call that succeeds (2xx); `timeout` is in seconds without a byte.

        AwsError otherwise, and when the answer has more than `limit` bytes, which are then not read. `admit` is told
        its size before it is read, and may raise what the caller wants.
        """
        wait = _FIRST_WAIT
        for attempt in range(1, attempts + 1):
            try:
                return self._try(call, timeout, limit, admit)
            except AwsError as error:
                if not error.temporary or attempt == attempts:
                    raise
            time.sleep(wait)
            wait *= 4
        raise AssertionError("no attempt was asked for")

    def _try(
        self, call: AwsRequest, timeout: float, limit: int | None, admit: Callable[[int], None] | None
    ) -> AwsResponse:
        endpoint = self._endpoint(call.service)
        target = quote(call.path, safe="/-_.~")
        signed = self._signed(call, target, urlsplit(endpoint).netloc)
        idle = self._idle.setdefault(endpoint, [])
        try:
            kept, connection = True, idle.pop()
        except IndexError:
            kept, connection = False, self._connect(endpoint)
        try:
            try:
                response = _exchange(connection, call, target, signed, timeout)
            except ConnectionError:
                if not kept:
                    raise
                # The server has closed this idle connection, perhaps while Lambda was frozen: so it has the others.
                connection.close()
                idle.clear()
                connection = self._connect(endpoint)
                response = _exchange(connection, call, target, signed, timeout)
            found = {name.lower(): value for name, value in response.getheaders()}
            # `limit` is for objects: an error's body is always read.
            if response.status < 300 and limit is not None and int(found.get("content-length", "0")) > limit:
                raise AwsError(f"{call.path} has {found['content-length']} bytes, at most {limit} are taken", 413)
            if response.status < 300 and admit is not None:
                admit(int(found.get("content-length", "0")))
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise AwsError(f"{endpoint} did not answer {call.method} {call.path}: {error!r}") from error
        except BaseException:
            connection.close()
            raise
        idle.append(connection)
        if response.status >= 300:
            raise _refusal(call, AwsResponse(response.status, found, content))
        return AwsResponse(response.status, found, content)

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

    def _signed(self, call: AwsRequest, target: str, host: str) -> dict[str, str]:
        """The call's headers and those that authenticate it."""
        key, secret, token = self._credentials.current()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        digest = hashlib.sha256(call.body).hexdigest()
        found = {**call.headers, "Host": host, "X-Amz-Date": stamp, "X-Amz-Content-Sha256": digest}
        if token:
            found["X-Amz-Security-Token"] = token
        lower = sorted((name.lower(), " ".join(value.split())) for name, value in found.items())
        names = ";".join(name for name, _ in lower)
        canonical = "\n".join(
            (call.method, target, "", *(f"{name}:{value}" for name, value in lower), "", names, digest),
        )
        scope = f"{stamp[:8]}/{self._settings.aws_region}/{call.service}/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        signing = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            signing = hmac.digest(signing, part.encode(), "sha256")
        signature = hmac.digest(signing, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hex()
        credential = f"Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return found | {"Authorization": f"AWS4-HMAC-SHA256 {credential}"}


def _exchange(
    connection: http.client.HTTPConnection, call: AwsRequest, target: str, headers: dict[str, str], timeout: float
) -> http.client.HTTPResponse:
    connection.timeout = timeout
    if connection.sock is not None:
        connection.sock.settimeout(timeout)
    connection.request(call.method, target, call.body, headers)
    return connection.getresponse()


def _refusal(call: AwsRequest, answer: AwsResponse) -> AwsError:
    text = answer.body[:2000].decode(errors="replace")
    code = _between(text, "<Code>", "</Code>") or _between(text, '"__type":"', '"').rpartition("#")[2]
    message = f"{call.service} answered {call.method} {call.path} with {answer.status} {code}".rstrip()
    region = answer.headers.get("x-amz-bucket-region")
    if answer.status in (301, 307, 400) and region:
        message += f"; the bucket is in {region}: use one of the function's own region"
    elif answer.status == 403:
        message += "; the function's role must allow it (without s3:ListBucket a missing object looks the same)"
    return AwsError(message, answer.status, code)


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]
