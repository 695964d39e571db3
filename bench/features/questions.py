"""The requests of the benchmark, about different cards in turns, and the check that an answer is right."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from bench.features.stores import zipf
from bench.payloads import Payload, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.features.stores import Cards
    from infra.payload import HttpResponse
    from models.manifest import Manifest

FEATURES = 8
ENTITIES = (1, 100)
BODIES = {1: 1000, 100: 200}  # different requests, by the entities in each
SKEW = 1.0
AMOUNT, HOUR = 129.9, 3.5
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Question(Payload):
    """A payload whose answer is another one than the scores of a picture."""

    def check(self, response: HttpResponse) -> None:
        if response.status != 200:
            raise WrongAnswerError(f"{self.name}: status {response.status}: {response.body[:300]!r}")
        document = json.loads(response.body)
        found = _values(document) if "results" in document else _scores(document)
        if len(found) != len(self.expected):
            raise WrongAnswerError(f"{self.name}: {len(self.expected)} values expected, {len(found)} came")
        for index, (value, right) in enumerate(zip(found, self.expected, strict=True)):
            if not math.isclose(value, right, rel_tol=1e-5, abs_tol=1e-6):
                raise WrongAnswerError(f"{self.name}: value {index} is {value}, expected {right}")


def lookups(cards: Cards, entities: int) -> Question:
    """POST /get-online-features: the view's first features of so many cards."""
    names = cards.view.names[:FEATURES]
    count = BODIES[entities]
    drawn = zipf(cards.count, SKEW, entities * count)
    groups = [drawn[at : at + entities] for at in range(0, len(drawn), entities)]
    bodies = [
        {
            "entities": {cards.key: [cards.name(index) for index in group]},
            "features": [f"{cards.view.name}:{name}" for name in names],
        }
        for group in groups
    ]
    first, *others = (json.dumps(body).encode() for body in bodies)
    expected = [_fp32(cards.value(index, name)) for name in sorted(names) for index in groups[0]]
    return Question(f"features-{entities}", "/get-online-features", _JSON, first, expected, others)


def scores(model: Manifest, cards: Cards, name: str, *, sent: bool) -> Question:
    """POST :predict for one payment; `sent`: with all columns in the request, else they are looked up."""
    drawn = zipf(cards.count, SKEW, BODIES[1])
    rows = [_instance(cards, index, sent=sent) for index in drawn]
    first, *others = (json.dumps({"instances": [row]}).encode() for row in rows)
    (spec,) = model.inputs
    values = np.array([[AMOUNT, HOUR, *_columns(cards, drawn[0])]], np.float32)
    session = ort.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {spec.name: values})
    return Question(name, f"/v1/models/{model.name}:predict", _JSON, first, [float(each) for each in found[0]], others)


def _instance(cards: Cards, index: int, *, sent: bool) -> Any:
    if sent:
        return [AMOUNT, HOUR, *_columns(cards, index)]
    return {cards.key: cards.name(index), "amount": AMOUNT, "hour": HOUR}


def _columns(cards: Cards, index: int) -> list[float]:
    return [cards.value(index, name) for name in cards.view.names]


def _values(document: Any) -> Sequence[float]:
    # By name: Feast has an order of its own. The first is the entity's key.
    _, *named = zip(document["metadata"]["feature_names"], document["results"], strict=True)
    return [math.nan if value is None else value for _, column in sorted(named) for value in column["values"]]


def _scores(document: Any) -> Sequence[float]:
    (row,) = document["predictions"]
    if document.get("features", {}).get("defaulted"):
        return []
    return list(row.values()) if isinstance(row, dict) else row


def _fp32(number: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded
