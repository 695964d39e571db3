"""Models from S3: fetched once, checked, kept; and every way in which that can fail."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from function.aws import download
from function.engine import artifact, model_store
from function.native import cpu
from infra.emulator import Emulator
from models import manifest, publish
from tests.contract.client import Client, http_event, new_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.answer import Answer
    from tests.integration.aws.servers import Proxy

ROOT = Path(__file__).parents[3]
PNG = base64.b64decode(json.loads((ROOT / "tests/events/function_url_base64.json").read_text())["body"])
FAMILY = cpu.family(cpu.flags()) or "portable"

# A process that serves one picture from the published model; prints status and body.
ASK = """
import json, sys
from function.handler import handler
answer = handler(json.load(sys.stdin), None)
print(json.dumps([answer["statusCode"], answer["body"]]))
"""


@pytest.fixture
def published(
    digits_prepared: Path, bucket: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The digits in S3, and the variables of a function that serves them from there and has no models of its own."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, variables[name])
    monkeypatch.setenv("AWS_DEFAULT_REGION", variables["AWS_REGION"])
    uri = publish.publish(manifest.read(manifest.folder_of("digits")), f"s3://{bucket}/models")
    return variables | {"MODEL_URI": uri}


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """A model repository without a model."""
    (tmp_path / "nothing").mkdir()
    return tmp_path / "nothing"


@pytest.fixture
def right(digits_prepared: Path) -> bytes:
    return new_client(digits_prepared).post("/classify", PNG).body


def key_of(variables: dict[str, str], name: str) -> str:
    return variables["MODEL_URI"].split("/", 3)[3] + name


def gets(proxy: Proxy, name: str) -> int:
    return sum(method == "GET" and path.endswith(name) for method, path in proxy.seen)


def times(proxy: Proxy, name: str) -> float:
    """How often the object was fetched, in however many ranges."""
    (path,) = (ROOT / "models/digits/prepared").glob(name)
    return gets(proxy, name) / -(-path.stat().st_size // download.RANGE)


def unavailable(answer: Answer) -> str:
    assert answer.status == 503
    assert answer.error.startswith("model 'digits' could not be fetched from s3://")
    assert answer.error.endswith("; the next request tries again")
    return answer.error


def left_over(variables: dict[str, str]) -> list[str]:
    """Half-written files and folders of the cache."""
    return [path.name for path in Path(variables["MODEL_CACHE"]).rglob("*") if ".part" in path.name]


def test_publishing_names_each_build_and_prints_the_settings(
    published: dict[str, str], s3: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((ROOT / "models/digits/prepared/model.json").read_bytes())
    build = f"{document['version']}-{document['fingerprint'][:12]}"
    assert published["MODEL_URI"] == f"s3://{bucket}/models/digits/{build}/"
    prepared = ROOT / "models/digits/prepared"
    keys = {f"models/digits/{build}/{path.relative_to(prepared)}" for path in prepared.rglob("*") if path.is_file()}
    assert {each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]} == keys
    publish.main(["digits", f"s3://{bucket}/models/"])
    assert capsys.readouterr().out == f"MODEL_NAME=digits MODEL_URI={published['MODEL_URI']}\n"
    for wrong in ("nowhere", "s3://", "s3:///key"):
        with pytest.raises(SystemExit, match="is not of the form s3://bucket/key"):
            publish.main(["digits", wrong])
    with pytest.raises(SystemExit, match="did not take the model"):
        publish.main(["digits", "s3://no-such-bucket/models"])


def test_fetched_at_first_use_and_kept(published: dict[str, str], nothing: Path, proxy: Proxy, right: bytes) -> None:
    published |= {"AWS_ENDPOINT_URL": proxy.url}
    function = new_client(nothing, **published)
    assert function.get("/health").status == 200
    assert proxy.seen == []
    assert function.get("/v2/models/digits").json["versions"] == ["1"]
    assert gets(proxy, "model.json") == len(proxy.seen) == 1
    assert function.post("/classify", PNG).body == right
    seen = len(proxy.seen)
    assert times(proxy, f"{FAMILY}/weights.bin") == 1
    assert not any("portable" in path for _, path in proxy.seen) or FAMILY == "portable"
    assert function.post("/classify", PNG).body == right
    assert new_client(nothing, **published).post("/classify", PNG).body == right  # another process, warm
    assert len(proxy.seen) == seen
    assert [row["name"] for row in function.get("/v1/models").json["models"]] == ["digits"]
    assert not left_over(published)


def test_large_files_come_in_ranges(
    published: dict[str, str], nothing: Path, proxy: Proxy, right: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "RANGE", 1_000_001)
    published |= {"AWS_ENDPOINT_URL": proxy.url}
    assert new_client(nothing, **published).post("/classify", PNG).body == right
    size = (ROOT / f"models/digits/prepared/{FAMILY}/weights.bin").stat().st_size
    assert gets(proxy, "weights.bin") == -(-size // 1_000_001) > 1


def test_eight_processes_at_once_fetch_it_once(
    published: dict[str, str], nothing: Path, proxy: Proxy, right: bytes
) -> None:
    def slow(_method: str, _path: str, body: bytes) -> bytes:
        time.sleep(0.05)
        return body

    proxy.misbehave = slow
    environ = os.environ | published | {"AWS_ENDPOINT_URL": proxy.url, "MODEL_REPOSITORY": str(nothing)}
    event = json.dumps(http_event("function_url", "POST", "/classify", PNG)).encode()

    def ask(_: int) -> bytes:
        command = [sys.executable, "-c", ASK]
        return subprocess.run(command, input=event, capture_output=True, cwd=ROOT, env=environ, check=True).stdout

    with ThreadPoolExecutor(8) as pool:
        answers = [json.loads(output.splitlines()[-1]) for output in pool.map(ask, range(8))]
    assert answers == [[200, right.decode()]] * 8
    assert [times(proxy, name) for name in (f"{FAMILY}/weights.bin", "image.onnx")] == [1, 1]


def test_through_the_emulator(published: dict[str, str], nothing: Path, right: bytes) -> None:
    event = json.dumps(http_event("function_url", "POST", "/classify", PNG)).encode()
    with Emulator(env=published | {"MODEL_REPOSITORY": str(nothing)}) as emulator:
        answer = json.loads(emulator.invoke(event))
    assert (answer["statusCode"], answer["body"].encode()) == (200, right)


def test_versions_are_keys(
    published: dict[str, str], nothing: Path, s3: Any, bucket: str, right: bytes, tmp_path: Path
) -> None:
    """Two builds side by side: each URI serves its own, also from one cache."""
    other = published["MODEL_URI"].rstrip("/") + "-other"
    for each in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        key = each["Key"].replace(published["MODEL_URI"].split("/")[-2], other.rsplit("/", maxsplit=1)[-1])
        body = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        s3.put_object(Bucket=bucket, Key=key, Body=body.replace(b'"version":"1"', b'"version":"2"'))
    _renew_records(s3, bucket, other)
    old, new = (new_client(nothing, **(published | {"MODEL_URI": uri})) for uri in (published["MODEL_URI"], other))
    assert old.post("/classify", PNG).body == right
    assert new.get("/v2/models/digits").json["versions"] == ["2"]
    answer = new.post("/classify", PNG)
    assert answer.body == right, answer.error
    assert old.get("/v2/models/digits").json["versions"] == ["1"]


def _record(s3: Any, bucket: str, key: str) -> dict[str, Any]:
    """An artifact.json without its seal."""
    found: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return {name: found[name] for name in list(found)[:-1]}


def _renew_records(s3: Any, bucket: str, uri: str) -> None:
    import zlib

    prefix = uri.split("/", 3)[3]
    content = s3.get_object(Bucket=bucket, Key=f"{prefix}/model.json")["Body"].read()
    for each in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        if each["Key"].endswith("artifact.json"):
            record = _record(s3, bucket, each["Key"])
            digest = hashlib.sha256(content).hexdigest()
            record["files"]["../model.json"] = {"bytes": len(content), "crc32": zlib.crc32(content), "sha256": digest}
            s3.put_object(Bucket=bucket, Key=each["Key"], Body=artifact.sealed(record))


def test_the_portable_artifact_serves_where_the_family_is_missing_or_of_another_ort(
    published: dict[str, str], nothing: Path, s3: Any, bucket: str, proxy: Proxy, right: bytes
) -> None:
    if FAMILY == "portable":
        pytest.skip("this CPU has no family of its own")
    key = key_of(published, f"{FAMILY}/artifact.json")
    record = _record(s3, bucket, key)
    published |= {"AWS_ENDPOINT_URL": proxy.url}
    for number, body in enumerate((artifact.sealed(record | {"ort_version": "1.0.0"}), None)):
        if body is None:
            s3.delete_object(Bucket=bucket, Key=key)
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=body)
        cache = {"MODEL_CACHE": f"{published['MODEL_CACHE']}-{number}"}
        answer = new_client(nothing, **(published | cache)).post("/classify", PNG)
        assert answer.json["predictions"][0]["index"] == json.loads(right)["predictions"][0]["index"]
        assert times(proxy, "portable/weights.bin") == number + 1
    assert times(proxy, f"{FAMILY}/weights.bin") == 0


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_an_object_that_is_not_what_was_published(
    published: dict[str, str], nothing: Path, s3: Any, bucket: str, right: bytes, damage: str
) -> None:
    key = key_of(published, f"{FAMILY}/weights.bin")
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    changed = bytes([whole[0] ^ 1]) + whole[1:]
    function = new_client(nothing, **published)
    if damage == "gone":
        s3.delete_object(Bucket=bucket, Key=key)
    else:
        s3.put_object(Bucket=bucket, Key=key, Body=whole[:-1] if damage == "truncated" else changed)
    reason = {
        "truncated": rf"weights\.bin ends at byte {len(whole) - 1}",
        "changed": r"the sha256 of weights\.bin is not the one of artifact\.json",
        "gone": "404 NoSuchKey",
    }[damage]
    for _ in range(2):
        assert re.search(reason, unavailable(function.post("/classify", PNG)))
        assert not left_over(published)
    s3.put_object(Bucket=bucket, Key=key, Body=whole)
    assert function.post("/classify", PNG).body == right


def test_a_file_name_that_leads_out_of_the_folder(
    published: dict[str, str], nothing: Path, s3: Any, bucket: str
) -> None:
    key = key_of(published, f"{FAMILY}/artifact.json")
    record = _record(s3, bucket, key)
    record["files"]["../../../escaped"] = record["files"].pop("weights.bin")
    s3.put_object(Bucket=bucket, Key=key, Body=artifact.sealed(record))
    assert "names the file '../../../escaped'" in unavailable(new_client(nothing, **published).post("/classify", PNG))


def test_a_connection_that_breaks_off_is_tried_again(
    published: dict[str, str], nothing: Path, proxy: Proxy, right: bytes
) -> None:
    cut: list[str] = []

    def break_off(_method: str, path: str, body: bytes) -> Any:
        if path.endswith("weights.bin") and not cut:
            cut.append(path)
            return _half(body)
        return body

    proxy.misbehave = break_off
    published |= {"AWS_ENDPOINT_URL": proxy.url}
    assert new_client(nothing, **published).post("/classify", PNG).body == right
    assert len(cut) == 1


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionResetError


def test_no_permission(published: dict[str, str], nothing: Path, moto: str, right: bytes) -> None:
    function = new_client(nothing, **published)
    with _authorisation(moto):
        reason = unavailable(function.post("/classify", PNG))
        assert "403" in reason
        assert "the function's role must allow it" in reason
    assert function.post("/classify", PNG).body == right


@contextmanager
def _authorisation(moto: str) -> Iterator[None]:
    """moto checks keys and policies from now on, to the end of the block; it knows no key."""

    def allow(actions: bytes) -> None:
        url, plain = f"{moto}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(url, actions, plain, method="POST")).close()

    allow(b"0")
    try:
        yield
    finally:
        allow(b"inf")


def test_no_credentials(published: dict[str, str], nothing: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("without_credentials")  # `published` has set some
    without = published | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    reason = unavailable(new_client(nothing, **without).post("/classify", PNG))
    assert "there are no AWS credentials: give the function a role" in reason


@pytest.mark.parametrize("way", ["stalls", "dribbles"])
def test_a_slow_server(
    published: dict[str, str],
    nothing: Path,
    proxy: Proxy,
    right: bytes,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    monkeypatch.setattr(model_store, "STALL", 0.1 if way == "stalls" else 5.0)
    monkeypatch.setattr(model_store, "SECONDS", 1.0)
    gone = threading.Event()

    def slow(_method: str, path: str, body: bytes) -> Any:
        return _slowly(body, way, gone) if path.endswith("weights.bin") else body

    proxy.misbehave = slow
    function = new_client(nothing, **published | {"AWS_ENDPOINT_URL": proxy.url})
    started = time.monotonic()
    reason = unavailable(function.post("/classify", PNG))
    assert time.monotonic() - started < 3
    assert ("TimeoutError" if way == "stalls" else "S3 was too slow") in reason
    assert not left_over(published)
    gone.set()
    proxy.misbehave = lambda _method, _path, body: body
    assert function.post("/classify", PNG).body == right


def _slowly(body: bytes, way: str, gone: threading.Event) -> Iterator[bytes]:
    for start in range(0, len(body), 100):
        gone.wait(0.05 if way == "dribbles" else 2.0)
        yield body[start : start + 100]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the weights are still mapped


def test_a_full_disk(published: dict[str, str], nothing: Path, small_disk: Path, proxy: Proxy, right: bytes) -> None:
    published |= {"MODEL_CACHE": str(small_disk / "fetched"), "AWS_ENDPOINT_URL": proxy.url}
    function = new_client(nothing, **published)
    for _ in range(2):
        assert "No space left on device" in unavailable(function.post("/classify", PNG))
        assert not left_over(published)
    assert times(proxy, f"{FAMILY}/weights.bin") == 0  # known before anything is fetched
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert function.post("/classify", PNG).body == right


def test_what_a_killed_process_left_is_in_nobodys_way(published: dict[str, str], nothing: Path, right: bytes) -> None:
    function = new_client(nothing, **published)
    function.get("/v2/models/digits")
    (document,) = Path(published["MODEL_CACHE"]).rglob("model.json")
    half = document.parent / f"{FAMILY}.part"
    half.mkdir()
    (half / "weights.bin").write_bytes(b"half")
    assert function.post("/classify", PNG).body == right
    assert not left_over(published)


def test_what_was_damaged_later_is_fetched_again(published: dict[str, str], nothing: Path, right: bytes) -> None:
    new_client(nothing, **published).post("/classify", PNG)
    (weights,) = Path(published["MODEL_CACHE"]).rglob("weights.bin")
    weights.write_bytes(b"damaged")
    function = new_client(nothing, **published)
    assert function.post("/classify", PNG).status == 503
    assert function.post("/classify", PNG).body == right


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"MODEL_URI": "https://example/model"}, "MODEL_URI: 'https://example/model' is not of the form"),
        ({"MODEL_NAME": "cats"}, "holds the model 'digits', not 'cats'"),
    ],
)
def test_settings_that_cannot_be(
    published: dict[str, str], nothing: Path, changes: dict[str, str], reason: str
) -> None:
    settings = published | {"model": "digits"} | changes
    if "MODEL_URI" in changes:
        with pytest.raises(Exception, match=reason):
            new_client(nothing, **published | changes)
        return
    model = settings.pop("MODEL_NAME")
    function: Client = new_client(nothing, **published | {"model": model})
    answer = function.post("/classify", PNG)
    assert answer.status == 503
    assert reason in answer.error
