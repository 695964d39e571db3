"""PostgreSQL over TLS: each of libpq's modes against a real server with a certificate made for the test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bench.postgres import INITDB, Postgres, postgres
from function.errors import PredictError
from function.features.postgres_store import PostgresStore
from tests.contract.client import new_client
from tests.integration.features.conftest import LONG, create_table
from tests.integration.features.servers import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from function.features.view import View

pytestmark = pytest.mark.skipif(
    INITDB is None or not shutil.which("openssl"), reason="no PostgreSQL server or no openssl is installed"
)
IN_USE = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def files() -> Iterator[dict[str, Path]]:
    with certificates() as made:
        yield made


@pytest.fixture(scope="module")
def server(files: dict[str, Path]) -> Iterator[Postgres]:
    with postgres("ssl=on", f"ssl_cert_file={files['certificate']}", f"ssl_key_file={files['key']}") as made:
        yield made


def encrypted(server: Postgres, query: str, host: str = "127.0.0.1") -> bool:
    """Whether the connection is, once it stands."""
    store = PostgresStore(urlsplit(f"postgresql://postgres@{host}:{server.port}/postgres{query}"), 30)
    try:
        ((used,),) = store._run(IN_USE)
    finally:
        store.close()
    return bool(used)


def test_each_mode_does_what_libpq_says(server: Postgres, files: dict[str, Path]) -> None:
    own, other = f"&sslrootcert={files['authority']}", f"&sslrootcert={files['other']}"
    assert not encrypted(server, "?sslmode=disable")
    for query in ("", "?sslmode=prefer", "?sslmode=require", f"?sslmode=require{own}", f"?sslmode=verify-ca{own}"):
        assert encrypted(server, query), query
    assert encrypted(server, f"?sslmode=verify-full{own}")
    assert encrypted(server, f"?sslmode=verify-ca{own}", "localhost")
    with pytest.raises(Exception, match=r"(?i)hostname mismatch"):
        encrypted(server, f"?sslmode=verify-full{own}", "localhost")
    for query in (
        "?sslmode=verify-full",
        *(f"?sslmode={mode}{other}" for mode in ("require", "verify-ca", "verify-full")),
    ):
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            encrypted(server, query)


def test_a_server_without_tls_is_refused_where_it_has_to_be(postgres_server: Postgres) -> None:
    assert not encrypted(postgres_server, "?sslmode=prefer")
    for mode in ("require", "verify-full"):
        with pytest.raises(Exception, match="Server refuses SSL"):
            encrypted(postgres_server, f"?sslmode={mode}")


def test_what_cannot_be_is_said_at_once(server: Postgres) -> None:
    with pytest.raises(
        PredictError, match="sslmode='allow'; disable, prefer, require, verify-ca, verify-full are known"
    ):
        encrypted(server, "?sslmode=allow")
    with pytest.raises(PredictError, match=r"sslrootcert=/nowhere\.pem, which is no file"):
        encrypted(server, "?sslmode=verify-full&sslrootcert=/nowhere.pem")


def test_features_come_over_tls(server: Postgres, files: dict[str, Path], repository: Path, view: View) -> None:
    create_table(server.url, view)
    url = f"{server.url}?sslmode=verify-full&sslrootcert={files['authority']}"
    variables = {"FEATURES_URL": url, "FEATURES_DEADLINE_MS": LONG, "ADMIN_KEY": "sesame"}
    row = {"card_id": "tls-1", "mean": 10.25, "visits": 3, "stolen": False, "country": "AT"}
    writer = new_client(repository, "cards", **variables)
    assert writer.post("/v1/features/card_stats", {"rows": [row]}, {"X-Admin-Key": "sesame"}).status == 200
    reader = new_client(repository, "cards", **variables)
    answer = reader.post("/v1/models/cards:predict", {"instances": [{"card_id": "tls-1", "amount": 100}]})
    assert answer.json["predictions"] == [{"sum": 113.25, "same": "AT"}]
    assert 'desc="store 100%"' in answer.headers["server-timing"]
