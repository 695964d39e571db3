"""Inputs that a request names by s3://bucket/key: through both entries, against moto's S3."""

from __future__ import annotations

import base64
import http.client
import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.answer import Answer
from tests.contract.client import Client, new_client
from tests.contract.entries.servers import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.aws.servers import Proxy

    Post = Callable[..., Answer]

PLANE = 3 * 224 * 224


@pytest.fixture(scope="module")
def png() -> bytes:
    event = json.loads((Path(__file__).parents[2] / "events" / "function_url_base64.json").read_text())
    return base64.b64decode(event["body"])


@pytest.fixture(scope="module")
def tensor() -> bytes:
    return struct.pack(f"<{PLANE}f", *(index % 255 / 255 for index in range(PLANE)))


@pytest.fixture
def function(digits_prepared: Path, variables: dict[str, str], bucket: str) -> Client:
    return new_client(digits_prepared, **variables, REFERENCE_BUCKETS=f"another, {bucket}")


def infer(uri: str, **parameters: object) -> dict[str, Any]:
    item = {"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "parameters": {"uri": uri, **parameters}}
    return {"inputs": [item]}


@pytest.fixture
def server(digits_prepared: Path, variables: dict[str, str], bucket: str) -> Iterator[Post]:
    """A POST of JSON to the plain server."""
    settings = {**variables, "MODEL_NAME": "digits", "REFERENCE_BUCKETS": bucket}
    with serve("asgi", digits_prepared, sys.executable, **settings) as address:

        def post(path: str, body: object) -> Answer:
            connection = http.client.HTTPConnection(address, timeout=60)
            connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body))
            response = connection.getresponse()
            lower = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, lower, response.read())
            connection.close()
            return answer

        yield post


@pytest.fixture(params=["lambda", "server"])
def post(request: pytest.FixtureRequest) -> Post:
    if request.param == "server":
        found: Post = request.getfixturevalue("server")
        return found
    client: Client = request.getfixturevalue("function")
    return client.post


def test_a_picture_and_a_tensor_are_read_from_the_bucket(
    post: Post, s3: Any, bucket: str, tensor: bytes, png: bytes
) -> None:
    s3.put_object(Bucket=bucket, Key="a digit é.png", Body=png)
    s3.put_object(Bucket=bucket, Key="tensor", Body=tensor)
    picture = f"s3://{bucket}/a digit é.png"
    assert post("/classify", {"uri": picture}).json == post("/classify", png).json
    encoded = base64.b64encode(png).decode()
    mixed = post("/v1/models/digits:predict", {"instances": [{"uri": picture}, {"b64": encoded}]}).json["predictions"]
    assert mixed[0] == mixed[1]
    by_name = post("/v2/models/digits/infer", infer(f"s3://{bucket}/tensor"))
    assert by_name.status == 200, by_name.body
    numbers = list(struct.unpack(f"<{PLANE}f", tensor))
    item = {"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": numbers}
    assert by_name.json == post("/v2/models/digits/infer", {"inputs": [item]}).json


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({"uri": "s3://elsewhere/key"}, "/classify", ("'elsewhere'", "REFERENCE_BUCKETS")),
        ({"uri": "https://BUCKET/key"}, "/classify", ("s3://bucket/key",)),
        ({"uri": "s3://BUCKET"}, "/classify", ("names no object",)),
        ({"uri": "s3://BUCKET/missing"}, "/classify", ("404", "NoSuchKey")),
        ({"uri": 1}, "/classify", ("needs 'uri', a string",)),
        ({"uri": "s3://BUCKET/key", "image": ""}, "/classify", ("'image' and 'uri'",)),
        ({"instances": [{"uri": "s3://elsewhere/key"}]}, "/v1/models/digits:predict", ("'elsewhere'",)),
        ({"instances": [{"uri": "s3://BUCKET/short"}, {"url": 1}]}, "/v1/models/digits:predict", ('"uri"',)),
        (infer("s3://BUCKET/short"), "/v2/models/digits/infer", ("5 bytes of binary data", "602112")),
        (infer("s3://BUCKET/short", binary_data_size=5), "/v2/models/digits/infer", ("it has both",)),
        (infer(1), "/v2/models/digits/infer", ("'uri' = 1; it must be a string",)),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_read_is_a_400_that_says_why(
    function: Client, s3: Any, bucket: str, png: bytes, body: Any, path: str, words: tuple[str, ...]
) -> None:
    s3.put_object(Bucket=bucket, Key="short", Body=b"short" if "v2" in path else png)
    answer = function.post(path, json.loads(json.dumps(body).replace("BUCKET", bucket)))
    assert answer.status == 400, answer.body
    for word in words:
        assert word in answer.error


def test_without_the_setting_it_is_off(digits_prepared: Path, variables: dict[str, str], bucket: str) -> None:
    answer = new_client(digits_prepared, **variables).post("/classify", {"uri": f"s3://{bucket}/key"})
    assert (answer.status, "set REFERENCE_BUCKETS" in answer.error) == (400, True)


def test_the_body_and_all_its_objects_are_bounded_as_a_body(
    digits_prepared: Path, variables: dict[str, str], s3: Any, bucket: str, png: bytes
) -> None:
    png += bytes(2000)  # which are no part of the picture
    room = 3 * len(png)
    client = new_client(digits_prepared, **variables, REFERENCE_BUCKETS=bucket, MAX_BODY_BYTES=str(room))
    s3.put_object(Bucket=bucket, Key="large", Body=bytes(room))
    s3.put_object(Bucket=bucket, Key="picture", Body=png)
    refused = client.post("/classify", {"uri": f"s3://{bucket}/large"})
    assert (refused.status, f"has {room} bytes" in refused.error, "MAX_BODY_BYTES" in refused.error) == (
        413,
        True,
        True,
    )
    for count, status in ((2, 200), (3, 413)):
        instances = [{"uri": f"s3://{bucket}/picture"}] * count
        assert client.post("/v1/models/digits:predict", {"instances": instances}).status == status


def test_more_objects_than_a_request_may_name(function: Client, s3: Any, bucket: str, png: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="picture", Body=png)
    instances = [{"uri": f"s3://{bucket}/picture"}] * 65
    answer = function.post("/v1/models/digits:predict", {"instances": instances})
    assert (answer.status, "64 objects" in answer.error) == (400, True)


def test_a_large_object_takes_memory_and_gives_it_back(function: Client, s3: Any, bucket: str, png: bytes) -> None:
    from function.limits import LIMITS

    s3.put_object(Bucket=bucket, Key="padded", Body=png + bytes(2 << 20))
    before = LIMITS.copies._left
    taken = []
    hold = LIMITS.copies.take

    def take(amount: int, timeout: float) -> bool:
        taken.append(amount)
        return hold(amount, timeout)

    LIMITS.copies.take = take  # type: ignore[method-assign]
    function.post("/classify", {"uri": f"s3://{bucket}/padded"})
    assert taken == [2 * (len(png) + (2 << 20))]
    assert LIMITS.copies._left == before


def test_an_object_that_changes_is_read_anew_with_a_result_cache(
    digits_prepared: Path, variables: dict[str, str], s3: Any, bucket: str, tensor: bytes
) -> None:
    client = new_client(digits_prepared, **variables, REFERENCE_BUCKETS=bucket, RESULT_CACHE_BYTES="1000000")
    answers = []
    for body in (tensor, bytes(len(tensor))):
        s3.put_object(Bucket=bucket, Key="tensor", Body=body)
        answers.append(client.post("/v2/models/digits/infer", infer(f"s3://{bucket}/tensor")).json["outputs"])
    assert answers[0] != answers[1]


def test_s3_that_fails_is_a_503(
    digits_prepared: Path, variables: dict[str, str], s3: Any, bucket: str, proxy: Proxy, png: bytes
) -> None:
    s3.put_object(Bucket=bucket, Key="picture", Body=png)
    settings = variables | {"AWS_ENDPOINT_URL": proxy.url, "REFERENCE_BUCKETS": bucket}
    client = new_client(digits_prepared, **settings)
    proxy.statuses = [500, 503, 500]
    assert client.post("/classify", {"uri": f"s3://{bucket}/picture"}).status == 503
    assert client.post("/classify", {"uri": f"s3://{bucket}/picture"}).status == 200
