"""The endpoint that gives credentials under SnapStart, on ECS and on EKS; it may be slow or not what it should be.

docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html. Imported where it is needed: http.client
alone costs 70 ms.
"""

from __future__ import annotations

import calendar
import http.client
import ipaddress
import json
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

from function.aws.errors import AwsError
from function.concurrency import Background

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from function.settings import Settings

SECONDS = 5.0  # for everything together: the endpoint is on the same machine
_ECS = "http://169.254.170.2"
_PLAIN_HOSTS = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost")  # ECS, EKS; and any loopback address
_LARGEST = 64 * 1024  # bytes of an answer
_WAITS = (0.1, 0.4)  # seconds before the second and the third attempt


def fetch(settings: Settings) -> tuple[tuple[str, str, str], float]:
    """Key, secret and session token, and when they end in seconds since 1970.

    AwsError within SECONDS, with what would give some. On a thread of its own: name resolution, TLS and an answer that
    comes byte by byte know no time limit that a socket could set.
    """
    url = settings.container_credentials_full_uri or _ECS + settings.container_credentials_relative_uri
    connected: list[socket.socket] = []
    deadline = time.monotonic() + SECONDS

    def ask() -> tuple[tuple[str, str, str], float]:
        for wait in _WAITS:
            try:
                return _ask(url, _token(settings), connected)
            except (OSError, http.client.HTTPException):
                if time.monotonic() + wait > deadline:
                    raise
                time.sleep(wait)
        return _ask(url, _token(settings), connected)

    try:
        found: tuple[tuple[str, str, str], float] = Background(ask, SECONDS).result()
    except Exception as error:  # noqa: BLE001  (whatever came is no credentials)
        for each in connected:  # ends the thread, if it still waits
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        # Not its repr, which may hold what came; without its cause for the same reason.
        raise AwsError(
            f"the credentials endpoint {url} gave no credentials: {type(error).__name__}: {error}", 401
        ) from None
    return found


def _token(settings: Settings) -> str:
    token = settings.container_authorization_token
    if settings.container_authorization_token_file:  # EKS renews it, so it is read each time
        with open(settings.container_authorization_token_file, encoding="ascii") as file:
            token = file.read(_LARGEST).strip()
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the authorization token has characters that no header may have")
    return token


def _ask(url: str, token: str, connected: list[socket.socket]) -> tuple[tuple[str, str, str], float]:
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        connection.connect()
        connected[:] = [connection.sock]
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("GET", target, headers={"Authorization": token} if token else {})
        response = connection.getresponse()
        if response.status >= 500:
            raise ConnectionError(f"status {response.status}")
        if response.status != 200:  # a redirect is not followed: the token is for this host alone
            raise ValueError(f"status {response.status}, 200 is expected")
        content = response.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes came")
    finally:
        connection.close()
    document = json.loads(content)
    key, secret, session = (document[name] for name in ("AccessKeyId", "SecretAccessKey", "Token"))
    for name, value in (("AccessKeyId", key), ("SecretAccessKey", secret), ("Token", session)):
        if not (isinstance(value, str) and value and value.isascii() and value.isprintable()):
            raise ValueError(f"{name} is no text that a header may have")
    end = calendar.timegm(time.strptime(document["Expiration"][:19], "%Y-%m-%dT%H:%M:%S"))
    return (key, secret, session), float(end)


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    """As AWS' SDKs do it, without TLS only where nobody on the way can read or answer in the endpoint's place."""
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return http.client.HTTPSConnection(host, parts.port or 443, timeout=SECONDS)
    if parts.scheme != "http" or not (host in _PLAIN_HOSTS or _is_loopback(host)):
        raise ValueError(
            f"{host or 'no host'} is refused: https://, or http:// to a loopback address or {_PLAIN_HOSTS}"
        )
    return http.client.HTTPConnection(host, parts.port or 80, timeout=SECONDS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: whoever answers for it decides where it leads
        return False
