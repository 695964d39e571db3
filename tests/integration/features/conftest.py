"""The three stores, each started once, and environments of the function over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from bench.postgres import INITDB, Postgres, postgres
from function.features.view import View
from function.settings import Settings
from models import extras, feature_tables, manifest
from tests.contract import feature_models
from tests.integration.aws.servers import VALKEY, Valkey, moto_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
LONG = "20000"  # ms: where the deadline is not what is tested, a busy machine must not meet it


class Store(NamedTuple):
    """A store and what the function's environment says of it."""

    kind: str
    variables: dict[str, str]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    if not VALKEY:
        pytest.skip("neither valkey-server nor redis-server is installed (Debian: redis-server)")
    server = Valkey(str(tmp_path_factory.mktemp("redis")))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    if INITDB is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model `cards`, with no rows of its own, and one of each policy."""
    folder = tmp_path_factory.mktemp("repository")
    feature_models.build(folder, more="")
    for policy in ("last", "unavailable"):
        feature_models.build(folder, more=f'on_error = "{policy}"', name=f"cards_{policy}")
    return folder


@pytest.fixture(scope="session")
def view(repository: Path) -> View:
    (document,) = extras.tables(manifest.read(repository / "cards"))["features"]
    return View(document)


@pytest.fixture(params=["redis", "dynamodb", "postgres"])
def store(request: pytest.FixtureRequest, view: View) -> Store:
    """Each of the stores, with the view's table."""
    if request.param == "redis":
        return Store("redis", {"FEATURES_URL": redis_url(request.getfixturevalue("redis_server"))})
    if request.param == "dynamodb":
        from function.features.dynamodb_store import DynamoDbStore

        variables = {**AWS, "AWS_ENDPOINT_URL": request.getfixturevalue("moto"), "FEATURES_URL": "dynamodb://"}
        feature_tables.create(DynamoDbStore(Settings(variables), 30), view)
        return Store("dynamodb", variables)
    url: str = request.getfixturevalue("postgres_server").url
    create_table(url, view)
    return Store("postgres", {"FEATURES_URL": url})


def create_table(url: str, view: View) -> None:
    from function.features.postgres_store import PostgresStore

    made = PostgresStore(urlsplit(url), 30)
    feature_tables.create(made, view)
    made.close()


def redis_url(server: Any) -> str:
    return f"redis://127.0.0.1:{server.port}"
