"""The model `fraud` in the real Lambda emulator, its features in a real Redis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from function.settings import Settings
from infra.emulator import Emulator
from models import features_load, manifest
from tests.contract.client import http_event, new_client
from tests.integration.features.conftest import LONG, redis_url
from tests.support import prepare_natively

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.aws.servers import Valkey

PREDICT = "/v1/models/fraud:predict"


def predicted(emulator: Emulator, *keys: str) -> tuple[dict[str, Any], str]:
    """The answer's document and its Server-Timing."""
    body = json.dumps({"instances": [{"card_id": key, "amount": 129.9, "hour": 3.5} for key in keys]}).encode()
    event = http_event("function_url", "POST", PREDICT, body)
    answer = json.loads(emulator.invoke(json.dumps(event).encode()))
    assert answer["statusCode"] == 200, answer["body"]
    return json.loads(answer["body"]), answer["headers"]["Server-Timing"]


def test_fraud_reads_a_real_redis(redis_server: Valkey, tmp_path: Path) -> None:
    folder = manifest.folder_of("fraud")
    prepare_natively(manifest.read(folder))
    lines = (folder / "features.csv").read_text().splitlines()
    known = dict(line.split(",", 1) for line in lines)
    path = tmp_path / "cards.csv"
    path.write_text("\n".join([*lines, f"c-17-of-redis,{known['c-17']}", ""]))
    variables = {"FEATURES_URL": redis_url(redis_server)}
    assert features_load.load(path, features_load.view_of("card_stats", "fraud"), Settings(variables)) == len(lines)

    alone = new_client(folder.parent, "fraud", FEATURES_URL="", FEATURES_DATABASE_URL="")
    body = {"instances": [{"card_id": "c-17", "amount": 129.9, "hour": 3.5}]}
    (expected,) = alone.post(PREDICT, body).json["predictions"]
    environment = {"MODEL_NAME": "fraud", "FEATURES_DEADLINE_MS": LONG, **variables}
    with Emulator(env=environment) as emulator:
        first, timing = predicted(emulator, "c-17-of-redis", "nobody")
        assert first["predictions"][0] == pytest.approx(expected)
        (told,) = first["features"]["defaulted"]
        assert (told["row"], told["status"], len(told["columns"])) == (1, "NOT_FOUND", 28)
        assert 'desc="store 100%"' in timing
        again, timing = predicted(emulator, "c-17-of-redis", "nobody")
        assert again == first
        assert 'desc="memory 100%"' in timing
