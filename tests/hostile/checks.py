"""What is right about an answer, and how far the two entries agree."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.hostile.entries import RaisedError
from tests.hostile.raw_http import ClosedError
from tests.hostile.seeds import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.answer import Answer


class Finding(NamedTuple):
    """Something that does not hold. Findings of one `kind` are most likely one defect."""

    kind: str
    text: str


# What the entries may answer differently, and why. Of the headers only those of COMPARED are looked at: the others are
# measurements (Server-Timing, traceresponse) or the transport's (Date, Server, Connection, Content-Length).
DIFFERS: tuple[tuple[str, Callable[[Sent, Answer, Answer], bool]], ...] = (
    ("/metrics is the server's alone", lambda sent, *_: sent.target.partition("?")[0] == "/metrics"),
    (
        "the server keeps a share of its memory for what else is worked on, Lambda works on one request at a time",
        lambda _, *answers: all(b" MiB are there for it" in answer.body for answer in answers),
    ),
)
COMPARED = ("content-type", "content-encoding", "allow", "inference-header-content-length", "vary")

# Documented: the failure of an S3 notification is an exception, so that Lambda tries again.
MAY_RAISE = ("RecordsError",)


def of_answer(entry: str, receive: Callable[[], Answer], case: Sent) -> tuple[list[Finding], Answer | None]:
    """What is wrong with one entry's answer by itself; None when there is none."""
    try:
        answer = receive()
    except RaisedError as raised:
        return [Finding(f"{entry} raised {raised.name} {_place(str(raised))}", f"{raised}\n{shown(case)}")], None
    except ClosedError as closed:
        return [Finding(f"{entry} closed without an answer: {name_of(case)}", f"{closed}: {shown(case)}")], None
    kind = f"{entry} {answer.status}"
    text = f"{answer.body[:500]!r} to {shown(case)}"
    # Nothing else runs, and the model is prepared: a 503 would have to be the caller's mistake in loading a model.
    if answer.status >= 500 and (answer.status != 503 or case.target.startswith("/v1/models")):
        return [Finding(f"{kind}: {_said(answer)}", text)], answer
    if answer.status >= 400 and case.method != "HEAD" and (complaint := answer.complaint()):
        return [Finding(f"{kind}, not in an error's form: {name_of(case)}", f"{complaint}; {text}")], answer
    return [], answer


def of_event(receive: Callable[[], Any], case: Any) -> tuple[list[Finding], int]:
    """What is wrong with what the handler returned for an event; the status, 0 for what has none."""
    try:
        result = receive()
    except RaisedError as raised:
        if raised.name in MAY_RAISE:
            return [], 0
        return [Finding(f"event raised {raised.name} {_place(str(raised))}", f"{raised}\n{shown(case)}")], 0
    if isinstance(result, bytes):
        complaint = _of_direct(result)
    elif isinstance(result, dict) and "statusCode" in result:
        status = result["statusCode"]
        if isinstance(status, int) and (status < 500 or status == 503):
            return [], status
        complaint = f"event answered with {status}"
    else:
        failures = result.get("batchItemFailures") if isinstance(result, dict) else None
        complaint = "" if result == {} or isinstance(failures, list) else "event: a result of no known form"
    return [Finding(complaint, f"{str(result)[:500]} to {shown(case)}")] if complaint else [], 0


def _of_direct(result: bytes) -> str:
    try:
        document = json.loads(result)
    except ValueError:
        return "direct invoke: not JSON"
    except RecursionError:
        return "direct invoke: JSON of no use, it is so deep"
    return "direct invoke: an unexpected failure" if "failed unexpectedly" in str(document)[:200] else ""


def compared(case: Sent, first: Answer, second: Answer) -> list[Finding]:
    """Where Lambda's answer and the server's are not the same."""
    if any(applies(case, first, second) for _, applies in DIFFERS):
        return []
    text = f"{first.body[:300]!r} and {second.body[:300]!r} to {shown(case)}"
    if first.status != second.status:
        return [Finding(f"Lambda: {_said(first)}; server: {second.status // 100}xx", text)]
    for name in COMPARED:
        if first.headers.get(name) != second.headers.get(name):
            pair = f"{first.headers.get(name)!r} and {second.headers.get(name)!r}"
            return [Finding(f"{name} differs: {name_of(case)}", f"{pair} to {shown(case)}")]
    if case.method == "HEAD":
        # None on a connection. Lambda's has that of a GET: the function URL counts its bytes and takes it off.
        return [Finding("HEAD with a body", text)] if second.body else []
    if _plain(first) != _plain(second):
        return [Finding(f"bodies differ; Lambda: {_said(first)}", text)]
    return []


def _said(answer: Answer) -> str:
    """The status, and an error's words without what they quote: the same for all cases of one defect."""
    if answer.status < 400 or answer.complaint():
        return str(answer.status)
    message = re.sub(r"'.*'|b\".*\"|[^ ]*/[^ ]*|\d+", "*", answer.json["error"])
    return f"{answer.status} ({message[:50]})"


def _plain(answer: Answer) -> Any:
    """The body as it means: inflated, and JSON as its value."""
    coding = answer.headers.get("content-encoding")
    body = gzip.decompress(answer.body) if coding == "gzip" else zlib.decompress(answer.body) if coding else answer.body
    return json.loads(body) if answer.headers.get("content-type") == "application/json" else body


def name_of(case: object) -> str:
    """The kind of case: enough to tell one defect from another, not more."""
    if not isinstance(case, Sent):
        return "event"
    path, _, query = case.target.partition("?")
    route = re.sub(r"[^/\w]+", "*", path)[:40]
    return f"{case.method} {route}{' with a query' if query else ''}"


def shown(case: object) -> str:
    """The case in a line or two."""
    if isinstance(case, Sent):
        headers = {name: value[:60] for name, value in case.headers.items()}
        return f"{case.method} {case.target[:120]} {headers} and {len(case.body)} bytes {case.body[:120]!r}"
    return str(case)[:400]


def _place(trace: str) -> str:
    """The last line of our own code in a trace."""
    places = re.findall(r'File "[^"]*?(function/[^"]+)", line (\d+)', trace)
    return "at {}:{}".format(*places[-1]) if places else "outside of function/"
