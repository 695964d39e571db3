"""Models of texts, and with Python of their own, fetched from S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models import manifest, publish
from tests import tiny_text
from tests.contract.client import Client, new_client
from tests.contract.entries.sent_models import EMBEDDING, HOOKS, add, sums

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(bucket: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, variables[name])
    monkeypatch.setenv("AWS_DEFAULT_REGION", variables["AWS_REGION"])
    return variables | {"BUCKET": bucket}


def fetching(environment: dict[str, str], folder: Path, **more: str) -> Client:
    """A function without models of its own that serves the published `folder`."""
    variables = dict(environment)
    uri = publish.publish(manifest.read(folder), f"s3://{variables.pop('BUCKET')}/models")
    (folder.parent / "nothing").mkdir(exist_ok=True)
    return new_client(folder.parent / "nothing", folder.name, **variables | {"MODEL_URI": uri} | more)


def test_the_tokenizer_comes_along(environment: dict[str, str], tmp_path: Path) -> None:
    client = fetching(environment, add(tmp_path / "phrases", tiny_text.encoder(), extra=EMBEDDING))
    answer = client.post("/v1/embeddings", {"model": "phrases", "input": "the quick fox"})
    assert answer.status == 200, answer.body
    assert len(answer.json["data"][0]["embedding"]) == tiny_text.WIDTH


def test_its_python_runs_only_where_that_is_allowed(environment: dict[str, str], tmp_path: Path) -> None:
    folder = add(tmp_path / "hooked", sums(), processing=HOOKS)
    body = {"instances": [{"a": 2}]}
    refused = fetching(environment, folder).post("/invocations", body)
    assert refused.status == 503
    assert "ALLOW_LOADED_PROCESSING=1" in refused.error
    allowed = fetching(environment, folder, ALLOW_LOADED_PROCESSING="1").post("/invocations", body)
    assert allowed.json == {"predictions": [{"total": 2.0, "shape": [1, 2]}]}
