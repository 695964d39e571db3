"""Models of texts: embeddings as numpy works them out, classes, lengths, and OpenAI's form."""

from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models import manifest
from models.manifest import ManifestError
from tests import tiny_text
from tests.contract.client import Client, new_client
from tests.contract.entries import sent_models
from tests.contract.entries.sent_models import prepare_here

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TEXTS = ["the quick brown fox", "a", "où est le chien?", "cold starts cost money and patience"]
LONG = "the quick fox " * 40
PHRASES = "/v1/models/phrases:predict"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("texts")
    sent_models.build(folder)
    return folder


@pytest.fixture(scope="module")
def client(repository: Path) -> Client:
    return new_client(repository, "phrases")


def hidden(text: str, longest: int | None = None) -> NDArray[np.float64]:
    """The encoder's answer to one text without padding, by numpy in double precision."""
    weights = tiny_text.weights()
    ids = tiny_text.tokenizer().encode(text).ids[:longest]
    embedded = weights["words"][ids].astype(float) + weights["kinds"][0]
    scores = np.exp(embedded @ embedded.T)
    return np.asarray(scores / scores.sum(axis=1, keepdims=True) @ embedded)


def embedding(text: str) -> NDArray[np.float64]:
    mean = hidden(text).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_embeddings_are_those_of_numpy(client: Client) -> None:
    answer = client.post(PHRASES, {"instances": TEXTS})
    assert answer.status == 200, answer.body
    for text, row in zip(TEXTS, answer.json["predictions"], strict=True):
        np.testing.assert_allclose(row, embedding(text), atol=1e-5)
    assert client.post(PHRASES, {"inputs": TEXTS}).json == answer.json


def test_many_texts_come_back_in_their_order(client: Client) -> None:
    texts = [TEXTS[index % 2] + " a" * (index % 7) for index in range(700)]
    rows = client.post(PHRASES, {"instances": texts}).json["predictions"]
    for index in (0, 1, 2, 3, 350, 699):
        np.testing.assert_allclose(rows[index], embedding(texts[index]), atol=1e-5)


def test_openais_form(client: Client) -> None:
    request: dict[str, Any] = {"model": "phrases", "input": TEXTS}
    answer = client.post("/v1/embeddings", request).json
    tokens = sum(len(tiny_text.tokenizer().encode(text).ids) for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert (answer["object"], answer["model"]) == ("list", "phrases")
    assert [(row["object"], row["index"]) for row in answer["data"]] == [("embedding", index) for index in range(4)]
    floats = np.array([row["embedding"] for row in answer["data"]], np.float32)
    packed = client.post("/v1/embeddings", request | {"encoding_format": "base64", "dimensions": 8}).json
    for row, numbers in zip(packed["data"], floats, strict=True):
        assert base64.b64decode(row["embedding"]) == numbers.tobytes()
    alone = client.post("/v1/embeddings", request | {"input": TEXTS[0]}).json["data"]
    np.testing.assert_allclose(alone[0]["embedding"], floats[0], atol=1e-6)


def test_classes(client: Client) -> None:
    answer = client.post("/v1/models/moods:predict", {"instances": [*TEXTS, LONG]})
    for text, row in zip([*TEXTS, LONG], answer.json["predictions"], strict=True):
        tokens = tiny_text.tokenizer()
        tokens.enable_truncation(16)  # as model.toml tells it to
        weights = tiny_text.weights()
        ids = tokens.encode(text).ids
        embedded = weights["words"][ids].astype(float) + weights["kinds"][0]
        scores = np.exp(embedded @ embedded.T)
        logits = (scores / scores.sum(axis=1, keepdims=True) @ embedded)[0] @ weights["head"]
        shares = np.exp(logits) / np.exp(logits).sum()
        assert (row["index"], row["label"]) == (shares.argmax(), ["calm", "glad", "sad"][shares.argmax()])
        assert row["probability"] == pytest.approx(shares.max(), abs=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (PHRASES, {"instances": ["a", LONG]}, "instances[1] has 122 tokens, at most 16 fit; send a shorter text, or"),
        (PHRASES, {"instances": []}, "'instances' is empty"),
        (PHRASES, {"instances": [5]}, "instances[0] is 5; a text is expected"),
        (PHRASES, {"instances": "a"}, "must be a text or an array of texts"),
        (PHRASES, {"dataframe_records": [{"text": "a"}]}, "takes texts: send"),
        ("/v1/embeddings", {"input": "a"}, "'model', a string; it is missing"),
        ("/v1/embeddings", {"model": "phrases"}, "'input' must be a text or an array of texts"),
        ("/v1/embeddings", {"model": "phrases", "input": []}, "'input' is empty"),
        ("/v1/embeddings", {"model": "phrases", "input": [[1, 2]]}, "input[0] is an array; a text is expected"),
        ("/v1/embeddings", {"model": "phrases", "input": LONG}, "input[0] has 122 tokens"),
        ("/v1/embeddings", {"model": "phrases", "input": "a", "encoding_format": "hex"}, "float or base64"),
        ("/v1/embeddings", {"model": "phrases", "input": "a", "dimensions": 4}, "have 8 numbers"),
        ("/v1/embeddings", {"model": "phrases", "input": "a", "n": 4}, "unknown field 'n'"),
        ("/v1/embeddings", {"model": "moods", "input": "a"}, "classifies texts; send them to"),
        ("/v1/embeddings", {"model": "people", "input": "a"}, "takes no texts"),
    ],
)
def test_what_is_refused(client: Client, path: str, body: object, words: str) -> None:
    answer = client.post(path, body)
    assert answer.status == 400
    assert words in answer.error


def test_an_unknown_model_is_a_404(client: Client) -> None:
    answer = client.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a"})
    assert answer.status == 404
    assert "the models here are: hooked, moods, people, phrases" in answer.error


def test_stored_answers_are_those_of_the_model_that_the_body_names(repository: Path) -> None:
    client = new_client(repository, "people", RESULT_CACHE_BYTES="1000000")
    for _ in range(2):
        assert len(client.post("/v1/embeddings", {"model": "phrases", "input": "a"}).json["data"]) == 1
        assert client.post(PHRASES, {"instances": ["a"]}).status == 200


def test_a_tokenizer_that_is_none_is_told_when_it_is_prepared(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "phrases"
    shutil.copytree(repository / "phrases", folder)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ManifestError, match=r"tokenizer\.json is no tokenizer that can be used"):
        prepare_here(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ManifestError, match=r"tokenizer\.json is missing; put the model's"):
        manifest.read(folder)


def test_a_tokenizer_that_was_exchanged_is_not_used(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "phrases", tmp_path / "phrases")
    path = tmp_path / "phrases" / "prepared" / "tokenizer.json"
    path.write_text(path.read_text().replace("[UNK]", "[unk]"))
    answer = new_client(tmp_path, "phrases").post(PHRASES, {"instances": ["a"]})
    assert answer.status == 503
    assert "was replaced or is damaged" in answer.error
