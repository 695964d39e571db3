"""Scores by the tier that the features come from: how many a second under load, and what one lookup adds."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tqdm import tqdm

from bench.features import questions, stores
from bench.features.setup import CLIENTS, NO_MEMORY, PATIENT, Part, zeroserve
from bench.load import slots
from bench.servers import OURS
from function.app import App
from function.exchange import Exchange
from function.messages import Request
from function.settings import Settings
from infra.payload import HttpResponse

if TYPE_CHECKING:
    from bench.features.questions import Question
    from bench.features.setup import Setup

PROCESS = "zeroserve-process"
SENT, MEMORY, REDIS, DATABASE = "score-sent", "score-memory", "score-redis", "score-postgres"
PAYLOADS = [SENT, MEMORY, REDIS, DATABASE]
LOOKUP, REQUEST, INFER = "lookup_ms", "request_ms", "infer_ms"
LOOKUPS = 1000  # rounds of the single requests


def measure(setup: Setup, lookups: int = LOOKUPS) -> Part:
    """The part of the result file."""
    part = Part(machine={"clients": CLIENTS, "lookups": lookups})
    near, deep = {"FEATURES_URL": setup.redis()}, {"FEATURES_DATABASE_URL": setup.database()}
    settings = {SENT: {}, MEMORY: near, REDIS: near | NO_MEMORY, DATABASE: deep | NO_MEMORY}
    ladder = [questions.scores(setup.model, setup.cards, name, sent=name == SENT) for name in PAYLOADS]
    part.machine["redis_bytes_of_a_card"] = round(stores.bytes_of_a_card(setup.redis(), setup.cards))
    _one_at_a_time(setup, part, settings, ladder, lookups)
    with ExitStack() as stack:
        running = {name: stack.enter_context(zeroserve(setup.model, given)) for name, given in settings.items()}
        up = slots.Servers(running, setup.generator)
        for payload in ladder:
            up.check(payload.name, payload)
        turns = [(*each, payload) for each in setup.rounds() for payload in ladder]
        for counts, seconds, payload in tqdm(turns, desc="scores by tier", unit="slot", disable=None):
            slot = up.slot(payload.name, payload, CLIENTS, seconds=seconds)
            if counts:
                part.add_slot(OURS, payload.name, slot)
    return part


def _one_at_a_time(
    setup: Setup, part: Part, settings: dict[str, dict[str, str]], ladder: list[Question], lookups: int
) -> None:
    """The function called in this process, each tier in turns: no server, no other request."""
    model = setup.model
    base = {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name, **PATIENT}
    apps = {name: App(Settings(base | given)) for name, given in settings.items()}
    for payload in ladder:
        first = apps[payload.name].respond(Exchange(_request(payload, payload.body)))
        payload.check(HttpResponse(first.status, [], first.body))
    bodies = {payload.name: (payload.body, *payload.others) for payload in ladder}
    warm = lookups // 4
    for number in tqdm(range(warm + lookups), desc="lookups", unit="round", disable=None):
        for payload in ladder:
            several = bodies[payload.name]
            # Each card twice: what is looked at is the second time, which memory knows.
            for _ in range(2 if payload.name == MEMORY else 1):
                exchange = Exchange(_request(payload, several[number % len(several)]))
                started = time.perf_counter()
                response = apps[payload.name].respond(exchange)
                taken = (time.perf_counter() - started) * 1000
                assert response.status == 200, response.body
            if number >= warm:
                part.samples.add(PROCESS, payload.name, REQUEST, taken)
                part.samples.add(PROCESS, payload.name, INFER, exchange.phases["infer"])
                if payload.name != SENT:
                    part.samples.add(PROCESS, payload.name, LOOKUP, exchange.phases["features"])


def _request(payload: Question, body: bytes) -> Request:
    return Request("POST", payload.path, {}, dict(payload.headers), body)
