"""What models/fraud and its entity features are worth, on a simulated stream of cards that it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from sklearn.metrics import roc_auc_score

from function.tensor import Tensor
from models import card_features, card_stream, manifest, train_fraud
from tests.contract.client import new_client
from tests.support import open_session, prepare_natively

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.contract.client import Client

CARDS, SEED = 1000, 7  # not the seed of the training


@pytest.fixture(scope="module")
def client() -> Client:
    model = manifest.read(manifest.folder_of("fraud"))
    prepare_natively(model)
    return new_client(model.folder.parent, "fraud", FEATURES_URL="", FEATURES_DATABASE_URL="")


def scores(client: Client, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the function says of rows of all 30 columns, sent as the model's own input."""
    size = str(rows.nbytes)
    head = (
        f'{{"inputs":[{{"name":"columns","datatype":"FP32","shape":[{len(rows)},30],"parameters":{{"binary_data_size":'
        f'{size}}}}}],"outputs":[{{"name":"probabilities","parameters":{{"binary_data":true}}}}]}}'
    ).encode()
    answer = client.post(
        "/v2/models/fraud/infer", head + rows.tobytes(), {"Inference-Header-Content-Length": str(len(head))}
    )
    assert answer.status == 200, answer.body
    return np.frombuffer(answer.parts[1], np.float32).reshape(-1, 2)[:, 1]


def test_what_the_entity_features_are_worth(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    stream = card_stream.simulate(CARDS, SEED)
    rows, truth = train_fraud.table(stream), stream.fraud
    judged = stream.time >= train_fraud.JUDGED_FROM
    plain = train_fraud.trained(rows[~judged, :2], truth[~judged]).predict_proba(rows[judged, :2])[:, 1]
    known = np.concatenate([scores(client, part) for part in np.array_split(rows[judged], 20)])
    told: dict[str, tuple[float, float]] = {}
    for name, found in (("amount and hour alone", plain), ("with the card's 28 columns", known)):
        told[name] = (roc_auc_score(truth[judged], found), train_fraud.recall(truth[judged], found))
    with capsys.disabled():
        print(
            f"\nfraud, {judged.sum():,} simulated payments of {CARDS:,} unseen cards, {truth[judged].mean():.2%} stolen"
        )
        for name, (area, share) in told.items():
            print(f"  {name}: AUC {area:.3f}, recall at 1 % alarms {share:.3f}")
    (plain_area, plain_recall), (area, recall) = told.values()
    assert area > 0.95
    assert recall > 0.6
    assert area > plain_area + 0.1
    assert recall > 2 * plain_recall


def test_a_card_of_the_models_own_file(client: Client) -> None:
    row: dict[str, Any] = {"card_id": "c-17", "amount": 129.9, "hour": 3.5}
    answer = client.post("/v1/models/fraud:predict", {"instances": [row, row | {"card_id": "nobody"}]}).json
    known, unknown = answer["predictions"]
    assert set(known) == {"owner", "fraud"}
    assert known != unknown
    (told,) = answer["features"]["defaulted"]
    assert (told["row"], told["status"], told["columns"]) == (1, "NOT_FOUND", list(card_features.NAMES))


def test_the_join_gives_what_the_raw_model_gives(client: Client, tmp_path: Path) -> None:
    """All 500 cards of the file, through lookup and join, beside ONNX Runtime on a matrix made by numpy."""
    folder = manifest.folder_of("fraud")
    head, *lines = (folder / "features.csv").read_text().splitlines()
    assert head.split(",")[1:] == list(card_features.NAMES)
    own = np.random.default_rng(3).uniform(0, 24, (len(lines), 2)).astype(np.float32)
    rows = [
        {"card_id": line.split(",")[0], "amount": float(amount), "hour": float(hour)}
        for line, (amount, hour) in zip(lines, own, strict=True)
    ]
    answer = client.post("/v1/models/fraud:predict", {"instances": rows}).json
    assert answer["features"] == {"defaulted": []}
    columns = np.array([line.split(",")[1:] for line in lines], np.float32)
    session = open_session(onnx.load(folder / "model.onnx"), tmp_path)

    whole = np.concatenate([own, columns], axis=1)
    raw = session.run({"columns": Tensor("FP32", whole.shape, whole.tobytes())})["probabilities"]
    assert not isinstance(raw.data, list)
    expected = np.frombuffer(bytes(raw.data), np.float32).reshape(-1, 2)[:, 1]
    np.testing.assert_allclose([each["fraud"] for each in answer["predictions"]], expected, atol=1e-6)
