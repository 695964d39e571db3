"""Trains gradient-boosted trees on the simulated card stream and writes models/fraud: `python -m models.train_fraud`.

Two minutes on one core. Payments of the last third of the days judge the model; they choose nothing. It prints what
the entity's columns are worth: the same trees without them are trained as well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from models import card_features, card_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "fraud"
CARDS = 4000
EMBEDDED = 500  # cards whose columns come with the model
JUDGED_FROM = card_stream.DAYS * 2 / 3 * card_stream.DAY
OTHERS = 8  # one in so many of the owners' payments is trained on
OWN = ("amount", "hour")  # what a request itself brings


def table(stream: card_stream.Stream) -> NDArray[np.float32]:
    """float32 [payments, 30]: the request's own two columns, then the entity's."""
    hour = np.mod(stream.time, card_stream.DAY) / card_stream.HOUR
    own = np.stack([stream.amount, hour], axis=1).astype(np.float32)
    return np.concatenate([own, card_features.history(stream)], axis=1)


def recall(truth: NDArray[np.bool_], scores: NDArray[np.float64], alarms: float = 0.01) -> float:
    """The share of a thief's payments among the `alarms` share of payments with the highest scores."""
    highest = np.argsort(-scores, kind="stable")[: int(len(scores) * alarms)]
    return int(np.count_nonzero(truth[highest])) / int(np.count_nonzero(truth))


def trained(rows: NDArray[np.float32], truth: NDArray[np.bool_]) -> GradientBoostingClassifier:
    """Trees on all payments of thieves and one in eight of the others, which then weigh as much as they did."""
    random = np.random.default_rng(0)
    chosen = truth | (random.random(len(truth)) < 1 / OTHERS)
    model = GradientBoostingClassifier(
        n_estimators=120, learning_rate=0.1, max_depth=5, subsample=0.5, min_samples_leaf=30, random_state=0
    )
    return model.fit(rows[chosen], truth[chosen], sample_weight=np.where(truth[chosen], 1.0, OTHERS / 20))


def main() -> int:
    stream = card_stream.simulate(CARDS)
    rows, truth = table(stream), stream.fraud
    judged = stream.time >= JUDGED_FROM
    print(f"{len(rows):,} payments, {truth.mean():.2%} by thieves; judged on {judged.sum():,} of later days")
    for name, columns in (("amount and hour alone", 2), ("with the card's 28 columns", rows.shape[1])):
        model = trained(rows[~judged, :columns], truth[~judged])
        scores = model.predict_proba(rows[judged, :columns])[:, 1]
        print(
            f"{name}: AUC {roc_auc_score(truth[judged], scores):.3f}, recall at 1 % alarms "
            f"{recall(truth[judged], scores):.3f}"
        )
    graph = to_onnx(
        model,
        initial_types=[("columns", FloatTensorType([None, rows.shape[1]]))],
        options={id(model): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "model.onnx").write_bytes(graph.SerializeToString())
    cards, columns_now = card_features.latest(stream, card_stream.DAYS * card_stream.DAY)
    with (FOLDER / "features.csv").open("w") as file:
        file.write(",".join(["card_id", *card_features.NAMES]) + "\n")
        for card, values in zip(cards[:EMBEDDED], columns_now, strict=False):
            file.write(",".join([f"c-{card}", *(f"{value:.6g}" for value in values.tolist())]) + "\n")
    print(json.dumps({"bytes": (FOLDER / "model.onnx").stat().st_size, "cards": EMBEDDED}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
