"""The result cache: what makes two requests the same, and the tier in memory."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from function.cache.result_cache import LRUCache, ResultCache, key_of
from function.engine import repository
from function.exchange import Exchange
from function.messages import Request, Response
from function.settings import Settings
from tests.contract.client import Client, new_client

if TYPE_CHECKING:
    from pathlib import Path

    from function.engine.repository import Metadata

FLAT = [0.25] * (3 * 224 * 224)
BODY = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": FLAT}]}).encode()
V2 = "/v2/models/digits/infer"
MODEL = ("digits", "1")


@pytest.fixture(scope="module")
def metadata(digits_prepared: Path) -> Metadata:
    return repository.read(str(digits_prepared), "digits")


@pytest.fixture
def cached(digits_prepared: Path) -> Client:
    return new_client(digits_prepared, RESULT_CACHE_BYTES="1000000")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_all_that_changes_an_answer_changes_the_key(metadata: Metadata) -> None:
    def key(**changes: Any) -> str:
        parts: dict[str, Any] = {"path": "/classify", "query": {"top_k": "3"}, "headers": {}, "body": b"picture"}
        program = changes.pop("program", "1")
        return key_of(Request("POST", **(parts | changes)), MODEL, metadata.fingerprint, program)

    keys = [
        key(),
        key(path="/v1/models/digits/classify"),
        key(query={}),
        key(query={"top_k": "4"}),
        key(headers={"content-type": "multipart/form-data"}),
        key(headers={"inference-header-content-length": "3"}),
        key(body=b"picturf"),
        key(program="2"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(headers={"user-agent": "curl", "accept-encoding": "gzip"}) == key()


def test_another_model_or_build_has_another_key() -> None:
    request = Request("POST", "/classify", {}, {}, b"picture")
    keys = {
        key_of(request, ("digits", "1"), "a", "1"),
        key_of(request, ("digit", "1"), "a", "1"),
        key_of(request, ("digits", "2"), "a", "1"),
        key_of(request, ("digits", "1"), "b", "1"),
    }
    assert len(keys) == 4


def test_memory_holds_so_many_bytes_and_drops_the_longest_unused() -> None:
    memory = LRUCache(5000)
    for name in "abcd":
        memory.put(name, name.encode() * 700)  # with its overhead 1,200
    assert memory.get("a") == b"a" * 700
    memory.put("e", b"e" * 700)
    assert memory.get("b") is None
    assert [memory.get(name) is not None for name in "acde"] == [True] * 4
    memory.put("huge", b"x" * 4501)
    assert memory.get("huge") is None
    assert memory.get("a")
    memory.put("a", b"A" * 3500)  # in place of itself
    assert memory.get("a") == b"A" * 3500
    assert [memory.get(name) is not None for name in "cde"] == [False, False, False]


def test_no_capacity_keeps_nothing() -> None:
    memory = LRUCache(0)
    memory.put("a", b"")
    assert memory.get("a") is None


def test_a_repeated_request_is_answered_from_memory(cached: Client, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [cached.post(V2, BODY) for _ in range(2)]
    assert answers[0].status == 200
    assert answers[0].body == answers[1].body
    assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
    first, second = lines(capsys)
    assert (first["cache"], second["cache"]) == ("miss", "memory")
    assert "infer_ms" in first
    assert "infer_ms" not in second
    assert (second["model"], second["version"]) == ("digits", "1")


def test_compressed_or_not_it_is_the_same_request(cached: Client, capsys: pytest.CaptureFixture[str]) -> None:
    plain = cached.post(V2, BODY)
    packed = cached.request("POST", V2, gzip.compress(BODY), {"Content-Encoding": "gzip"})
    assert packed.body == plain.body
    assert [each["cache"] for each in lines(capsys)] == ["miss", "memory"]


def test_each_asks_for_its_own_compression(digits_prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached = new_client(digits_prepared, RESULT_CACHE_BYTES="1000000")
    batch = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [8, 3, 224, 224], "data": FLAT * 8}]}
    plain = cached.post(V2, batch)
    packed = cached.post(V2, batch, {"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "content-encoding" not in cached.post(V2, batch).headers
    assert [each["cache"] for each in lines(capsys)] == ["miss", "memory", "memory"]


def test_errors_are_not_kept(cached: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert [cached.post(V2, b"{}").status for _ in range(2)] == [400, 400]
    assert cached.post("/v2/models/nothing/infer", b"{}").status == 404
    assert [each.get("cache") for each in lines(capsys)] == ["miss", "miss", None]


def test_it_is_off_by_default(digits_prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = new_client(digits_prepared)
    for _ in range(2):
        client.post(V2, BODY)
    assert all("cache" not in each for each in lines(capsys))


def test_binary_answers_keep_their_headers(cached: Client) -> None:
    wanted = json.loads(BODY) | {"parameters": {"binary_data_output": True}}
    first, second = (cached.post(V2, wanted) for _ in range(2))
    name = "inference-header-content-length"
    assert first.headers[name] == second.headers[name]
    assert first.body == second.body


def test_what_is_not_ours_is_no_answer(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ResultCache(Settings({"RESULT_CACHE_BYTES": "1000"}))
    for entry in (b"", b"text", b"[]\nbody", b"{\nbody", b"{}\nbody"):
        monkeypatch.setattr(LRUCache, "get", lambda _self, _key, entry=entry: entry)
        exchange = Exchange(Request("POST", "/classify", {}, {}, b""))
        assert cache.get(exchange, metadata.fingerprint, "1") is None
        assert exchange.cache == "miss"
    monkeypatch.setattr(LRUCache, "get", lambda *_: b'{"Content-Type": "application/json"}\na\nb')
    found = cache.get(exchange, metadata.fingerprint, "1")
    assert isinstance(found, Response)
    assert found.body == b"a\nb"
