"""The unmodified openai client, sync and async, through the gateway to an upstream of the tests."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING, Any

import openai
import pytest

from infra import processes
from tests.conformance.conftest import PYTHON
from tests.contract.entries.servers import ENTRIES, ROOT, serve
from tests.upstream import DONE, JSON, TALK, Answer, Upstream, chunk, completion, event, upstream, usual, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAID = [{"role": "user", "content": "say it"}]
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]


@pytest.fixture(scope="module")
def there() -> Iterator[Upstream]:
    with upstream() as made:
        yield made


@pytest.fixture(scope="module")
def repository(there: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("gateway")
    closed = processes.free_port()
    folders = [
        write_folder(folder / "chat", there.port, retries=0),
        write_folder(folder / "quick", there.port, retries=0, first_token_s=0.5, between_tokens_s=0.5),
        write_folder(folder / "down", closed, retries=0),
    ]
    subprocess.run([str(PYTHON), "-m", "models.prepare", *map(str, folders)], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module", params=ENTRIES)
def address(request: pytest.FixtureRequest, repository: Path) -> Iterator[str]:
    with serve(request.param, repository, str(PYTHON), MODEL_NAME="chat", LOAD_IN_INIT="0") as found:
        yield f"http://{found}/v1"


@pytest.fixture
def client(address: str, there: Upstream) -> Iterator[openai.OpenAI]:
    there.answer = usual
    there.gate.clear()
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=60) as made:
        yield made
    there.gate.set()


def create(client: openai.OpenAI, model: str = "chat", **more: Any) -> Any:
    messages: Any = SAID
    return client.chat.completions.create(model=model, messages=messages, **more)


def test_a_chat(client: openai.OpenAI) -> None:
    answer = create(client)
    assert answer.choices[0].message.content == "Hello"
    assert answer.usage.total_tokens == 7


def test_a_chat_that_streams(client: openai.OpenAI) -> None:
    with create(client, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    text = "".join(each.choices[0].delta.content for each in chunks if each.choices)
    assert text == "Hello, wörld \u2028 \\n"
    assert chunks[-1].usage.completion_tokens == 3


def test_the_bytes_of_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="chat",
        messages=SAID,
        stream=True,
    ) as response:
        assert response.read() == b"".join(TALK)


def test_the_async_client(address: str, client: openai.OpenAI) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=address, api_key="none", max_retries=0, timeout=60) as other:
            whole = await other.chat.completions.create(model="chat", messages=SAID)
            stream = await other.chat.completions.create(model="chat", messages=SAID, stream=True)
            parts = [each.choices[0].delta.content async for each in stream if each.choices]
            return whole.choices[0].message.content, "".join(parts)

    assert asyncio.run(ask()) == ("Hello", "Hello, wörld \u2028 \\n")


def test_tool_calls_are_passed_through(client: openai.OpenAI, there: Upstream) -> None:
    call = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    document = json.loads(completion(""))
    document["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    there.answer = lambda _seen: Answer([json.dumps(document).encode()], headers=dict(JSON), length=True)
    answer = create(client, tools=TOOLS, tool_choice="auto")
    (found,) = answer.choices[0].message.tool_calls
    assert (found.function.name, found.function.arguments) == ("weather", '{"city": "Ulm"}')
    assert there.seen[-1].document["tools"] == TOOLS
    parts = [{"tool_calls": [{"index": 0, **call}]}, {"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}]
    about = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [event({**about, "choices": [{"index": 0, "delta": part, "finish_reason": None}]}) for part in parts]
    there.answer = lambda _seen: Answer([*events, DONE])
    first, _ = list(create(client, tools=TOOLS, stream=True))
    assert first.choices[0].delta.tool_calls[0].function.arguments == '{"city": "Ulm"}'


def test_completions_and_embeddings(client: openai.OpenAI, there: Upstream) -> None:
    document = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    document["choices"] = [{"index": 0, "text": "and so on", "finish_reason": "stop", "logprobs": None}]
    there.answer = lambda _seen: Answer([json.dumps(document).encode()], headers=dict(JSON), length=True)
    assert client.completions.create(model="chat", prompt="once").choices[0].text == "and so on"
    rows = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    found = {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    there.answer = lambda _seen: Answer([json.dumps(found).encode()], headers=dict(JSON), length=True)
    answer = client.embeddings.create(model="chat", input="a", encoding_format="float")
    assert answer.data[0].embedding == [0.5, -1.0]


def test_the_models(client: openai.OpenAI) -> None:
    assert sorted(model.id for model in client.models.list()) == ["chat", "down", "quick"]


def test_errors_are_its_exceptions(client: openai.OpenAI, there: Upstream) -> None:
    with pytest.raises(openai.NotFoundError):
        create(client, "nobody")
    with pytest.raises(openai.InternalServerError) as down:
        create(client, "down", stream=True)
    assert "cannot be reached" in str(down.value.body)
    body = b'{"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}'
    there.answer = lambda _seen: Answer([body], 400, dict(JSON), length=True)
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, stream=True)
    assert refused.value.code == "context_length_exceeded"
    there.answer = lambda _seen: Answer([b"{}"], 429, JSON | {"Retry-After": "20"}, length=True)
    with pytest.raises(openai.RateLimitError) as limited:
        create(client)
    assert limited.value.response.headers["retry-after"] == "20"
    there.answer = lambda _seen: Answer(list(TALK), waits_at=0)
    with pytest.raises(openai.InternalServerError) as late:
        create(client, "quick", stream=True)
    assert late.value.status_code == 504


@pytest.mark.parametrize(
    "bad",
    [Answer(TALK[:2], cut=True), Answer([*TALK[:2], chunk("half")[:30]], cut=True), Answer(list(TALK), waits_at=2)],
)
def test_what_ends_a_stream_is_raised(client: openai.OpenAI, there: Upstream, bad: Answer) -> None:
    there.answer = lambda _seen: bad
    stream = create(client, "quick", stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["He", "llo, "]
    with pytest.raises(openai.APIError, match=r"quick: (the upstream's answer is broken|no further token came)"):
        next(stream)
