"""Random bodies, and valid ones with one byte changed: no 5xx, and the process lives. The seed is printed."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from function.app import App
from function.exchange import Exchange
from function.messages import Request
from function.settings import Settings
from tests.contract.entries.valid import VALID
from tests.contract.entries.wire import LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.contract.entries.wire import Wire

CASES = 10_000  # through the core
BIG_CASES = 24  # of 1 to 8 MB
WIRE_CASES = 400  # through each entry
MEGABYTE = 1 << 20


class Sent(NamedTuple):
    number: int
    path: str
    body: bytes
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"case {self.number}: {self.path} {dict(self.headers)} {len(self.body)} bytes {self.body[:200]!r}"


HEADERS: tuple[Mapping[str, str], ...] = (
    {},
    {LENGTH.lower(): "0"},
    {LENGTH.lower(): "100"},
    {"content-encoding": "gzip"},
    {"content-encoding": "deflate"},
    {"content-type": "multipart/form-data; boundary=b"},
)


def cases(generator: random.Random, count: int, big: int) -> Iterator[Sent]:
    """`count` cases, a quarter of them random bytes; the `big` last ones are those of 1 to 8 MB."""
    for number in range(count):
        base = generator.choice(VALID)
        if number >= count - big:
            size = generator.randrange(MEGABYTE, 8 * MEGABYTE + 1)
            yield Sent(number, base.path, generator.randbytes(size), generator.choice(HEADERS))
        elif number % 4 == 0:
            size = int(2 ** generator.uniform(0, 15)) - 1
            yield Sent(number, base.path, generator.randbytes(size), generator.choice(HEADERS))
        else:
            changed = bytearray(base.body)
            changed[generator.randrange(len(changed))] = generator.randrange(256)
            yield Sent(number, base.path, bytes(changed), base.headers)


@pytest.fixture
def generator(capsys: pytest.CaptureFixture[str]) -> random.Random:
    seed = random.SystemRandom().randrange(1 << 32)
    with capsys.disabled():
        print(f"\n[fuzz seed {seed}]", end=" ")
    return random.Random(seed)


@pytest.fixture(scope="module")
def api(repository: Path) -> App:
    return App(Settings({"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "colours"}))


def ask(api: App, path: str, body: bytes, headers: Mapping[str, str]) -> int:
    response = api.respond(Exchange(Request("POST", path, {}, dict(headers), body)))
    if response.status != 200:
        assert list(json.loads(response.body)) == ["error"]
    return response.status


def test_the_core_answers_whatever_comes(api: App, generator: random.Random) -> None:
    for valid in VALID:
        assert ask(api, valid.path, valid.body, valid.headers) == 200
    statuses: Counter[int] = Counter()
    for sent in cases(generator, CASES, BIG_CASES):
        status = ask(api, sent.path, sent.body, sent.headers)
        assert status < 500, sent
        statuses[status] += 1
    assert statuses.total() == CASES
    assert statuses[200] > CASES // 20  # a changed digit is another valid request
    assert statuses[400] > CASES // 4
    for valid in VALID:
        assert ask(api, valid.path, valid.body, valid.headers) == 200


def test_both_entries_answer_whatever_comes(wires: dict[str, Wire], generator: random.Random) -> None:
    for sent in cases(generator, WIRE_CASES, 4):
        # Over 6 MB the function URL refuses by itself, in its own words.
        first, second = (wire.post(sent.path, sent.body, sent.headers) for wire in wires.values())
        assert first.status < 500, sent
        assert second.status < 500, sent
        if len(sent.body) < 4 * MEGABYTE:
            assert first.status == second.status, sent
            assert first.body == second.body, sent
    for valid in VALID:
        assert [wire.post(*valid).status for wire in wires.values()] == [200, 200]
