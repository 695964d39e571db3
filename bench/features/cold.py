"""The cold start of a function with entity features, by phase: with a store to connect to, and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cold.benchmark import measure as measure_cold
from bench.cold.systems import RIE, RieSystem, model_env
from bench.features import questions
from bench.features.setup import PATIENT, Part
from bench.features.stores import Cards

if TYPE_CHECKING:
    from bench.features.setup import Setup

FILE, STORE = "cold-file", "cold-redis"
NO_LOOKUP = "cold-sent"
PAYLOADS = [NO_LOOKUP, FILE, STORE]
FEWEST = 5


def measure(setup: Setup) -> Part:
    """The part of the result file: `runs` x 5 cold starts of each in turns, at least 5."""
    folder = setup.folder / "cold"
    folder.mkdir(exist_ok=True)
    known = Cards(setup.model, 100, folder)  # cards that the file beside the model has as well
    env = model_env(setup.model) | PATIENT
    stores = {NO_LOOKUP: {}, FILE: {}, STORE: {"FEATURES_URL": setup.redis()}}
    ladder = [questions.scores(setup.model, known, name, sent=name == NO_LOOKUP) for name in PAYLOADS]
    systems = [RieSystem(RIE, (name,), "function.handler.handler", env | given) for name, given in stores.items()]
    runs = FEWEST * setup.runs
    return Part(measure_cold(systems, ladder, runs), machine={"cold_starts": runs})
