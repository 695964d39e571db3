"""A chat with an upstream through the runtime client: each event leaves as it comes, whatever ends the stream."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from infra.emulator import AWSLAMBDARIC, BOOTSTRAP
from models import manifest, prepare
from tests.integration.runtime.api import NEXT, RuntimeApi, event
from tests.integration.runtime.conftest import Runtime
from tests.integration.runtime.test_streaming import STREAM, head_of, lines, url_event
from tests.upstream import TALK, Answer, Upstream, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANDLER = "function.handler.handler"


@pytest.fixture
def there() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def settings(there: Upstream, tmp_path: Path) -> dict[str, str]:
    repository = tmp_path / "models"
    folder = write_folder(repository / "chat", there.port, between_tokens_s=60, retries=0)
    prepare.prepare(manifest.read(folder))
    return {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "chat", "LOAD_IN_INIT": "0"}


@pytest.fixture
def ours(tmp_path: Path) -> Runtime:
    return Runtime(BOOTSTRAP, tmp_path)


def chat(**headers: Any) -> list[Any]:
    document = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    return event(url_event("/v1/chat/completions", json.dumps(document).encode()), headers)


def error_in(chunks: tuple[bytes, ...]) -> dict[str, Any]:
    """What the last event tells, which OpenAI's clients raise."""
    last = b"".join(chunks).rstrip().rpartition(b"data: ")[2]
    found: dict[str, Any] = json.loads(last)["error"]
    return found


def test_each_event_leaves_before_the_next_one_comes(
    ours: Runtime, api: RuntimeApi, there: Upstream, settings: dict[str, str]
) -> None:
    there.answer = lambda _seen: Answer(list(TALK), waits_at=1)
    api.events.put(chat())
    with ours.running(api, HANDLER, **settings, **STREAM) as process:
        head, first = api.wait_for_chunks(2)
        assert (head_of(head)["statusCode"], first) == (200, TALK[0])
        assert head_of(head)["headers"]["Content-Type"].startswith("text/event-stream")
        there.gate.set()
        seen = api.response()
        api.wait_for(NEXT, 2)
        (line,) = lines(process.log())
    assert b"".join(seen.chunks[1:]) == b"".join(TALK)
    assert seen.trailers == {}
    assert line["upstream"] == {"target": "chat", "attempts": 1, "prompt_tokens": 7, "completion_tokens": 3}


def test_an_upstream_that_dies_in_the_stream(
    ours: Runtime, api: RuntimeApi, there: Upstream, settings: dict[str, str]
) -> None:
    there.answer = lambda _seen: Answer(TALK[:2], cut=True)
    api.events.put(chat())
    with ours.running(api, HANDLER, **settings, **STREAM):
        seen = api.response()
    assert b"".join(seen.chunks[1:]).startswith(b"".join(TALK[:2]))
    assert error_in(seen.chunks)["code"] == "cut"
    assert seen.trailers == {}


def test_lambdas_deadline_ends_a_stream_that_stalls(
    ours: Runtime, api: RuntimeApi, there: Upstream, settings: dict[str, str]
) -> None:
    there.answer = lambda _seen: Answer(list(TALK), waits_at=2)
    api.events.put(chat(**{"Lambda-Runtime-Deadline-Ms": str(int((time.time() + 6) * 1000))}))
    with ours.running(api, HANDLER, **settings, **STREAM):
        seen = api.response()
    assert error_in(seen.chunks)["code"] == "whole"


@pytest.mark.parametrize("client", [BOOTSTRAP, AWSLAMBDARIC], ids=["ours", "awslambdaric"])
def test_where_nothing_streams_it_is_one_answer(
    client: tuple[str, ...], api: RuntimeApi, settings: dict[str, str], tmp_path: Path
) -> None:
    api.events.put(chat())
    with Runtime(client, tmp_path).running(api, HANDLER, **settings):
        document = api.response().document()
    assert document["statusCode"] == 200
    assert document["body"].encode() == b"".join(TALK)
