"""What is read of a store that Feast itself has filled, value by value beside Feast's own (`make test-feast`)."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from function.features import tier
from infra import venvs
from tests.contract.client import Client, new_client
from tests.integration.features import feast_views
from tests.integration.features.conftest import AWS, redis_url
from tests.support import ROOT, make_model, prepare_here, write_folder

if TYPE_CHECKING:
    from pathlib import Path

ENTITIES = int(os.environ.get("FEAST_ENTITIES", "1200"))
pytestmark = pytest.mark.skipif(
    not os.environ.get("TEST_FEAST"), reason="set TEST_FEAST=1: it makes an environment of 650 MB"
)


def model(folder: Path, views: list[dict[str, Any]], more: str = "") -> None:
    """A model whose columns are all features of the views; what it makes of them is not looked at."""
    columns, features = [], []
    for view in views:
        names = [*(name for name, _ in view["features"]), view["late"]]
        columns += [f'{{ name = "{name}", datatype = "FP32" }}' for name in names]
        fields = ", ".join(f'{{ name = "{name}", datatype = "FP32", default = 0 }}' for name in names)
        keys = ", ".join(f'{{ name = "{name}", datatype = "{datatype}" }}' for name, datatype in view["keys"])
        features.append(
            f'[[features]]\nview = "{view["name"]}"\nproject = "{feast_views.PROJECT}"\n{more}\n'
            f"entity = [{keys}]\ncolumns = [{fields}]\n"
        )
    width = len(columns)
    graph = make_model(
        [helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=0)],
        [("numbers", TensorProto.FLOAT, ["n", width])],
        [("sum", TensorProto.FLOAT, ["n"])],
        {"axis": np.array([1], np.int64)},
    )
    extra = f"\n[table]\ncolumns = [{', '.join(columns)}]\n" + "".join(features)
    prepare_here(write_folder(folder, graph, extra))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`oracle` with all views, whose values have no ttl, and `aged` with the first, which has Feast's."""
    folder = tmp_path_factory.mktemp("models")
    model(folder / "oracle", feast_views.VIEWS)
    first = {**feast_views.VIEWS[0]}
    first["features"], first["late"] = first["features"][:-1], first["features"][-1][0]  # no feature that is new
    model(folder / feast_views.AGED, [first], f"ttl = {feast_views.TTL_SECONDS}")
    return folder


def asked_of_feast(store: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """[{"request", "answer"}] of Feast over a store that it has filled."""
    order = folder / "order.json"
    order.write_text(json.dumps({"store": store, "folder": str(folder), "entities": ENTITIES}))
    aws = {
        "AWS_ACCESS_KEY_ID": AWS["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": AWS["AWS_SECRET_ACCESS_KEY"],
        "AWS_DEFAULT_REGION": AWS["AWS_REGION"],
    }
    command = [str(venvs.ensure("feast")), "-m", "tests.integration.features.feast_oracle", str(order)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **aws}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    found: list[dict[str, Any]] = json.loads((folder / "answers.json").read_text())
    return found


def postgres_config(port: int) -> dict[str, Any]:
    where = {"host": "127.0.0.1", "port": port, "database": "postgres", "db_schema": "public", "sslmode": "disable"}
    return {"type": "postgres", "user": "postgres", "password": "any", **where}


@pytest.fixture(params=["redis", "dynamodb", "postgres"])
def place(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, str]]:
    """What Feast calls a store, and what the function's environment says of it."""
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        feasts = {"type": "redis", "connection_string": f"127.0.0.1:{server.port}"}
        return feasts, {"FEATURES_URL": redis_url(server)}
    if request.param == "dynamodb":
        url = request.getfixturevalue("moto")
        feasts = {"type": "dynamodb", "region": AWS["AWS_REGION"], "endpoint_url": url}
        return feasts, {**AWS, "AWS_ENDPOINT_URL": url, "FEATURES_URL": "dynamodb://"}
    server = request.getfixturevalue("postgres_server")
    return postgres_config(server.port), {"FEATURES_URL": server.url}


def test_every_value_is_what_feast_says(
    place: tuple[dict[str, Any], dict[str, str]], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tier, "TIMEOUT_S", 120.0)  # a thousand entities at once, from moto
    store, variables = place
    pairs = asked_of_feast(store, tmp_path)
    client = new_client(models, "oracle", FEATURES_DEADLINE_MS="120000", **variables)
    statuses: dict[str, int] = {}
    for pair in pairs:
        for status, count in compare(client, pair["request"], pair["answer"]).items():
            statuses[status] = statuses.get(status, 0) + count
    kind = store["type"]
    print(f"\n{kind}: {sum(statuses.values()):,} values of {ENTITIES:,} materialised entities are Feast's: {statuses}")
    assert len(pairs) == len(feast_views.VIEWS) + (kind == "redis")
    assert ("OUTSIDE_MAX_AGE" in statuses) == (kind == "redis")
    assert ("NOT_FOUND" in statuses) == (kind != "redis")


def compare(client: Client, body: dict[str, Any], expected: dict[str, Any]) -> dict[str, int]:
    """How many values there are of which status; they are equal."""
    answer = client.post("/get-online-features", body)
    assert answer.status == 200, answer.error
    ours, feasts = _by_name(answer.json), _by_name(expected)  # Feast gives features in the order of a set
    assert ours.keys() == feasts.keys()
    assert list(ours)[: len(body["entities"])] == list(body["entities"])
    statuses: dict[str, int] = {}
    # Of a computed vector Feast tells the time of its computation, not of the observation.
    parts = 2 if "feature_service" in body else 3
    for name, rows in ours.items():
        pairs = enumerate(zip(rows, feasts[name], strict=True))
        different = [(row, mine, wanted) for row, (mine, wanted) in pairs if mine[:parts] != wanted[:parts]]
        assert not different, f"{name}: {len(different)} differ: {different[:3]}"
        for row in rows:
            statuses[row[1]] = statuses.get(row[1], 0) + 1
    return statuses


def _by_name(answer: dict[str, Any]) -> dict[str, list[tuple[Any, str, str]]]:
    """(value, status, time) of each row of each name."""
    return {
        name: list(zip(each["values"], each["statuses"], each["event_timestamps"], strict=True))
        for name, each in zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
    }
