"""Each row of the table of HTTP cases against the server; after it, the next request is answered right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile import server_process
from tests.hostile.case import MAX_BODY, Case, Step, Then, get
from tests.hostile.cases import CASES
from tests.hostile.raw_http import ClosedError, Connection, pause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.answer import Answer
    from tests.hostile.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(digits_prepared: object) -> Iterator[ServerProcess]:
    with server_process.serve({"MAX_BODY_BYTES": str(MAX_BODY)}) as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(server: ServerProcess, case: Case) -> None:
    with Connection(server.port) as connection:
        answers = play(connection, case)
        assert [answer.status in want for answer, want in zip(answers, case.want, strict=False)] == [True] * len(
            answers
        ), f"{[answer.status for answer in answers]}, last: {answers[-1].body[:300]!r}"
        for answer in answers:
            if answer.status >= 400 and not case.head_only:
                assert not answer.complaint()
        if len(answers) == len(case.want) and case.words:
            assert case.words in answers[-1].body.decode().lower()
        check_connection(connection, case.then)
    with Connection(server.port) as connection:
        check_health(connection)


def play(connection: Connection, case: Case) -> list[Answer]:
    """The answers in their order: as many as are due, or one fewer where the last may be missing."""
    answers: list[Answer] = []
    for step in case.send:
        if step is Step.PAUSE:
            pause()
        elif step is Step.HALF_CLOSE:
            connection.half_close()
        elif step is Step.READ:
            answers.append(connection.answer(head_only=case.head_only))
        elif isinstance(step, bytes) and not connection.send(step):
            break  # the server has closed; whether it has answered before is seen now
    while len(answers) < len(case.want):
        try:
            answers.append(connection.answer(head_only=case.head_only))
        except ClosedError:
            if not case.silent or len(answers) < len(case.want) - 1:
                raise
            break
    return answers


def check_connection(connection: Connection, then: Then) -> None:
    if then is Then.CLOSED:
        assert connection.ended(), "the connection should end; something more came"
    elif then is Then.OPEN:
        check_health(connection)
    elif not connection.ended_or_asked(get()):
        answer = connection.answer()
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}')


def check_health(connection: Connection) -> None:
    assert connection.send(get())
    answer = connection.answer()
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 60
