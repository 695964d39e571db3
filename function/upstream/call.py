"""What a caller asks of a language model, and which upstream is asked for it when: no socket and no clock."""

from __future__ import annotations

import os

from function.errors import PredictError
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from function.upstream.failure import UpstreamError
    from function.upstream.target import Target

    class Body(Protocol):
        """The caller's JSON."""

        stream: bool
        repeatable: bool

        def rewritten(self, model: str, max_tokens: int) -> bytes: ...


FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0  # before the same upstream is asked again; twice as long each time


class Call:
    """`path` is OpenAI's, behind /v1; `stream`: the answer is wanted as events. `deadline` is by time.monotonic.

    `target` is asked now, for the time being; `attempts` counts.
    """

    __slots__ = (
        "_targets",
        "_tries",
        "attempts",
        "body",
        "deadline",
        "path",
        "repeatable",
        "request_id",
        "stream",
        "target",
    )

    def __init__(self, path: str, body: Body, targets: Iterator[Target], deadline: float, request_id: str) -> None:
        self.path, self.body, self.stream, self.request_id = path, body, body.stream, request_id
        self._targets, self.target = targets, next(targets)
        self.deadline = deadline
        self.repeatable = body.repeatable and self.target.cache  # its answer may be stored
        self.attempts = self._tries = 1

    def request(self, key: str) -> bytes:
        """The whole request to `target` as HTTP/1.1."""
        target = self.target
        body = self.body.rewritten(target.model, target.max_tokens)
        lines = [
            f"POST {target.path}{self.path} HTTP/1.1",
            f"Host: {target.authority}",
            f"Content-Length: {len(body)}",
            "Content-Type: application/json",
            f"Accept: {'text/event-stream' if self.stream else 'application/json'}",
            "Accept-Encoding: identity",
            f"User-Agent: zeroserve/{VERSION}",
        ]
        if key:
            lines.append(f"Authorization: Bearer {key}")
        if self.request_id.isascii() and self.request_id.isprintable():
            lines.append(f"X-Request-Id: {self.request_id}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def failed(self, error: UpstreamError, now: float) -> float:
        """Chooses who is asked next: the seconds to wait before. PredictError where nobody is left."""
        self.attempts += 1
        if error.again and self._tries <= self.target.retries:
            wait = FIRST_WAIT_S * 2.0 ** (self._tries - 1) * (0.5 + os.urandom(1)[0] / 510)
            wait = min(LONGEST_WAIT_S, wait) if error.after is None else error.after
            if wait <= LONGEST_WAIT_S and now + wait < self.deadline:
                self._tries += 1
                return wait
        following = next(self._targets, None) if now < self.deadline else None
        if following is None:
            self.attempts -= 1
            raise _refusal(error) from None
        self.target, self._tries = following, 1
        return 0.0


def _refusal(error: UpstreamError) -> PredictError:
    headers = None
    if error.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        headers = {"Retry-After": str(max(1, round(error.after or 1)))}
    return PredictError(error.code, error.message, headers)
