"""Requests to AWS: the signature against botocore's, what is tried again, and where credentials come from."""

from __future__ import annotations

import datetime
import http.client
import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from function.aws import client
from function.aws.client import Aws, AwsRequest
from function.aws.errors import AwsError
from function.aws.s3 import S3, parse_uri
from function.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.aws.servers import Proxy

KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1"}


class PayloadSigned(botocore.auth.S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """S3's variant with the body's digest, which botocore leaves out over TLS."""

    def _should_sha256_sign_payload(self, request: Any) -> bool:
        return True


@pytest.mark.parametrize("token", ["", "a/session+token=="])
@pytest.mark.parametrize(
    ("service", "path", "target", "headers", "body"),
    [
        ("s3", "/b/k", "/b/k", {}, b""),
        ("s3", "/b/a b/é+~*.png", "/b/a%20b/%C3%A9%2B~%2A.png", {"Range": "bytes=0-9"}, b""),
        ("s3", "/b/k", "/b/k", {"Content-Type": "a/b", "x-amz-meta-x": "  two  spaces "}, b"body"),
        ("dynamodb", "/", "/", {"X-Amz-Target": "DynamoDB_20120810.GetItem"}, b"{}"),
    ],
)
def test_the_signature_is_botocores(
    service: str,
    path: str,
    target: str,
    headers: dict[str, str],
    body: bytes,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed: dict[str, Any] = {}

    class Connection:
        """Takes what would be sent, and ends there."""

        sock = None

        def __init__(self, host: str, **_: Any) -> None:
            signed["host"] = host

        def request(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
            signed.update(method=method, target=target, headers=headers)
            raise ConnectionRefusedError

        def close(self) -> None:
            pass

    monkeypatch.setattr(http.client, "HTTPSConnection", Connection)
    call = AwsRequest(service, "PUT", path, headers, body)
    with pytest.raises(AwsError, match="did not answer"):
        Aws(Settings(KEYS | {"AWS_SESSION_TOKEN": token})).request(call, attempts=1)
    assert signed["host"] == f"{service}.eu-west-1.amazonaws.com"
    assert signed["target"] == target
    moment = datetime.datetime.strptime(signed["headers"]["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: moment)
    oracle = AWSRequest("PUT", f"https://{signed['host']}{target}", headers=headers, data=body)
    if service != "s3":
        oracle.headers["X-Amz-Content-Sha256"] = signed["headers"]["X-Amz-Content-Sha256"]
    kind = PayloadSigned if service == "s3" else botocore.auth.SigV4Auth
    kind(Credentials("AK", "SK", token or None), service, "eu-west-1").add_auth(oracle)
    assert signed["headers"]["Authorization"] == oracle.headers["Authorization"]


def test_chinas_regions_have_their_own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(_self: Aws, endpoint: str) -> Any:
        asked.append(endpoint)
        raise ConnectionRefusedError

    monkeypatch.setattr(Aws, "_connect", refuse)
    with pytest.raises(ConnectionRefusedError):
        Aws(Settings(KEYS | {"AWS_REGION": "cn-north-1"})).request(AwsRequest("s3", "GET", "/b/k"), attempts=1)
    assert asked == ["https://s3.cn-north-1.amazonaws.com.cn"]


def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    variables: dict[str, str], bucket: str, s3: Any, proxy: Proxy
) -> None:
    """As after a pause of the environment: the first request of each old connection is lost, and repeated at once."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    ours = S3(Settings(variables | {"AWS_ENDPOINT_URL": proxy.url}))
    assert ours.get(bucket, "k") == b"content"
    proxy.close_connections()
    started = time.perf_counter()
    assert ours.get(bucket, "k") == b"content"
    assert time.perf_counter() - started < client._FIRST_WAIT


def test_what_is_temporary_is_tried_three_times(
    variables: dict[str, str], bucket: str, s3: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    ours = S3(Settings(variables | {"AWS_ENDPOINT_URL": proxy.url}))
    proxy.statuses = [503, 500]
    assert ours.get(bucket, "k") == b"content"
    assert waits == [0.1, 0.4]
    proxy.statuses = [503, 503, 503]
    with pytest.raises(AwsError, match="with 503") as caught:
        ours.get(bucket, "k")
    assert caught.value.temporary
    proxy.statuses = [403, 200]
    with pytest.raises(AwsError, match="with 403"):
        ours.get(bucket, "k")
    assert proxy.statuses == [200]


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///key", "http://bucket/key", "bucket/key"])
def test_what_is_no_s3_uri(uri: str) -> None:
    with pytest.raises(ValueError, match="is not of the form s3://bucket/key"):
        parse_uri(uri)


class Endpoint(http.server.BaseHTTPRequestHandler):
    """The container's credentials endpoint; each answer ends `lasts` seconds from now."""

    lasts = 3600.0
    asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        Endpoint.asked.append((self.path, self.headers.get("Authorization")))
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=Endpoint.lasts)
        key = f"AK{len(Endpoint.asked)}"
        found = {"AccessKeyId": key, "SecretAccessKey": "SK", "Token": "T", "Expiration": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        content = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    Endpoint.asked, Endpoint.lasts = [], 3600.0
    server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/credentials?id=1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_credentials_of_the_container_are_kept_until_they_end(
    endpoint: str, variables: dict[str, str], bucket: str, s3: Any, tmp_path: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    without = variables | {"AWS_ACCESS_KEY_ID": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint}
    ours = S3(Settings(without | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret"}))
    for _ in range(2):
        assert ours.get(bucket, "k") == b"content"
    assert Endpoint.asked == [("/credentials?id=1", "secret")]
    Endpoint.lasts = 60.0  # less than is kept in reserve: renewed each time
    token = tmp_path / "token"
    token.write_text("renewed\n")
    other = S3(Settings(without | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}))
    for _ in range(2):
        other.get(bucket, "k")
    assert Endpoint.asked[1:] == [("/credentials?id=1", "renewed")] * 2


def test_a_credentials_endpoint_that_is_gone(variables: dict[str, str]) -> None:
    gone = {"AWS_ACCESS_KEY_ID": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/credentials"}
    with pytest.raises(AwsError, match="gave no credentials"):
        S3(Settings(variables | gone)).get("bucket", "key")
