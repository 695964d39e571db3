"""An event's text becomes the event that `json` makes of it, whichever way its body is taken."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.events import event_text

CONTEXT = {"http": {"method": "POST"}}
LONG = "1.25," * 20_000


def read(event: object, *, ascii_only: bool = True) -> Any:
    """The event as it was read, its body a string again, and whether that was bytes."""
    found = event_text.loads(bytearray(json.dumps(event, ensure_ascii=ascii_only, separators=(",", ":")).encode()))
    taken = isinstance(found, dict) and isinstance(found.get("body"), bytes)
    if taken:
        found["body"] = found["body"].decode()
    return found, taken


@pytest.mark.parametrize("shape", [{"rawPath": "/"}, {"httpMethod": "POST", "path": "/"}])
@pytest.mark.parametrize("start", ["", '{"a":"b\\c"}\n\r\t\b\f/ ', "\\" * 50, '"' * 50, '\\"' * 1000])
def test_a_large_body_is_taken_as_bytes(shape: dict[str, str], start: str) -> None:
    for body in (start + LONG, LONG + start, LONG + start + LONG):
        for event in (
            shape | {"requestContext": CONTEXT, "body": body},
            {"body": body, "requestContext": CONTEXT} | shape,
        ):
            assert read(event) == (event, True)


@pytest.mark.parametrize(
    "event",
    [
        {"rawPath": "/", "requestContext": CONTEXT, "body": "small"},
        {"rawPath": "/", "requestContext": CONTEXT, "body": "grüße" + LONG},
        {"rawPath": "/", "requestContext": CONTEXT, "body": LONG + "\n" * 5000},
        {"rawPath": "/", "requestContext": CONTEXT, "body": None, "headers": {"x": LONG}},
        {"rawPath": "/", "requestContext": CONTEXT, "headers": {"body": LONG}, "body": LONG + "!"},
        {"rawPath": "/", "requestContext": {"body": LONG}},
        {"rawPath": "/", "requestContext": CONTEXT, 'x"body': LONG, "body": "b"},
        {"rawPath": "/", "body": LONG},
        {"requestContext": CONTEXT, "body": LONG},
        {"inputs": [1.5], "body": LONG},
        [{"body": LONG}],
        {"Records": [{"body": LONG}]},
    ],
    ids=repr,
)
def test_all_else_is_left_to_json(event: object) -> None:
    assert read(event) == (event, False)
    assert read(event, ascii_only=False) == (event, False)


def test_of_a_name_that_is_there_twice_the_last_counts() -> None:
    text = b'{"rawPath":"/","requestContext":{},"body":"%b","body":"last"}' % LONG.encode()
    assert event_text.loads(bytearray(text))["body"] == "last"
    text = b'{"rawPath":"/","requestContext":{},"body":1,"body":"%b"}' % LONG.encode()
    assert event_text.loads(bytearray(text))["body"] == LONG.encode()


@pytest.mark.parametrize("end", ["", '"', '\\"', '"}}', '",}', '\\x41"}', '" "a"}'])
def test_what_is_no_json_is_refused(end: str) -> None:
    text = f'{{"rawPath":"/","requestContext":{{}},"body":"{LONG}{end}'.encode()
    with pytest.raises(ValueError, match=r"line 1 column"):
        event_text.loads(bytearray(text))


@settings(deadline=None)  # the machine may be slow
@given(st.lists(st.text(string.printable, max_size=20), max_size=20), st.booleans())
def test_any_body_is_what_json_reads(pieces: list[str], first: bool) -> None:
    body = LONG.join(["", *pieces, ""])
    event = {"rawPath": "/", "requestContext": CONTEXT}
    event = {"body": body, **event} if first else {**event, "body": body}
    found, taken = read(event)
    assert found == event
    assert taken == all(character not in body for character in "\x0b")
