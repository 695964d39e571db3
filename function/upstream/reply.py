"""An upstream's answer to one attempt as its bytes come: what may be passed on, what is wrong, how long to wait."""

from __future__ import annotations

from function.limits import LIMITS
from function.messages import Response
from function.upstream import events
from function.upstream.failure import UpstreamError, too_slow
from function.upstream.http1 import BadAnswerError, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.upstream.call import Call
    from function.upstream.target import Target

_AGAIN = frozenset((408, 409, 429, 500, 502, 503, 504, 529))
_PASSED = ("content-type", "retry-after", "retry-after-ms", "x-request-id")
_PASSED_PREFIXES = ("x-ratelimit-", "openai-")


class Reply:
    """For a transport to feed. `begun`: a byte of a stream was passed on, or the answer is whole; a failure before
    that is another upstream's turn, one after it an event in the stream. Times are by time.monotonic."""

    __slots__ = ("_last", "_parts", "_size", "_tail", "_target", "_whole_by", "begun", "heard", "reader", "streams")

    def __init__(self, call: Call, now: float) -> None:
        self._target: Target = call.target
        self._whole_by, self._last = call.deadline, now
        self.reader = Reader()
        self.streams = call.stream
        self.begun = self.heard = False  # heard: any byte came
        self._parts: list[bytes] = []  # of a body that does not stream, or the beginning of an event
        self._size, self._tail = 0, b""

    @property
    def done(self) -> bool:
        """The answer is whole."""
        return self.reader.done and not (self.streams and self._parts)

    def feed(self, data: bytes, now: float) -> bytes:
        """What of `data` may be passed on now: whole events of a stream, else nothing. UpstreamError."""
        reader = self.reader
        had_head, self.heard = bool(reader.status), True
        try:
            body = reader.feed(data)
            if not had_head and reader.status:
                self._look_at_head()
        except BadAnswerError as error:
            raise self._broken(error) from None
        if not self.streams:
            return self._gather(body)
        self._last = now
        if self._parts:
            body = self._parts.pop() + body
        body, rest = events.whole(body)
        if rest:
            if reader.done:  # its own end: an event need not be, and is passed on as it is
                body, rest = body + rest, b""
            else:
                self._parts.append(rest)
        if body:
            self.begun = True
            self._size += len(body)
            self._tail = (self._tail + body)[-events.TAIL :]
        elif reader.done and not self.begun:
            raise self._broken("no event came")
        return body

    def end(self, now: float) -> bytes:
        """The connection has ended: as `feed`. UpstreamError where the answer has not."""
        framed = self.reader.framed
        try:
            self.reader.end()
        except BadAnswerError as error:
            raise self._broken(error) from None
        body = self.feed(b"", now)
        if self.streams and not framed and not events.ended(self._tail):
            raise self._broken("the connection ended before the last event")
        return body

    def moved(self, now: float) -> None:
        """The wait for the next token begins anew: what was waited for meanwhile was the caller."""
        self._last = now

    def expires(self) -> float:
        """When `overdue` is to be asked."""
        return min(self._whole_by, self._last + self._patience()) if self.streams else self._whole_by

    def overdue(self, now: float) -> UpstreamError | None:
        """What was waited for too long."""
        name = self._target.name
        if now >= self._whole_by:
            return too_slow("whole", name, "the answer was not whole", self._target.whole_s)
        if self.streams and now >= self._last + self._patience():
            if self.begun:
                return too_slow("between_tokens", name, "no further token came", self._patience())
            return too_slow("first_token", name, "no token came", self._patience())
        return None

    def response(self) -> Response:
        """The answer's head; with its body where it does not stream."""
        found = self.reader.headers
        headers = {
            "-".join(part.capitalize() for part in name.split("-")): value
            for name, value in found.items()
            if name in _PASSED or name.startswith(_PASSED_PREFIXES)
        }
        return Response(self.reader.status, headers, b"" if self.streams else b"".join(self._parts))

    def size(self) -> int:
        """Bytes of the body that were passed on."""
        return self._size

    def usage(self) -> tuple[int, int] | None:
        """Tokens of the prompt and the answer, where it ends with them."""
        return events.usage(self._tail if self.streams else b"".join(self._parts[-1:])[-events.TAIL :])

    def _patience(self) -> float:
        return self._target.between_tokens_s if self.begun else self._target.first_token_s

    def _gather(self, body: bytes) -> bytes:
        if body:
            self._parts.append(body)
            self._size += len(body)
        if self._size > LIMITS.largest_body:
            raise UpstreamError(
                "malformed", f"{self._target.name}: its answer has more than {LIMITS.largest_body} bytes"
            )
        if self.reader.done:
            self._parts = [b"".join(self._parts)]
            self.begun = True
        return b""

    def _look_at_head(self) -> None:
        """What is not worth passing on is a failure; an answer with an error, or to no stream, is gathered."""
        status, name = self.reader.status, self._target.name
        if status in (401, 403):
            raise UpstreamError("key", f"{name}: the upstream does not take this function's key (status {status})")
        if status in _AGAIN:
            after = self.reader.headers.get("retry-after", "")
            code = "RESOURCE_EXHAUSTED" if status == 429 else "UNAVAILABLE"
            seconds = float(after) if after.isdecimal() and len(after) < 6 else None
            message = f"{name}: the upstream answered {status}"
            raise UpstreamError(str(status), message, again=True, after=seconds, code=code)
        if status >= 500 or 200 < status < 400:
            raise UpstreamError(str(status), f"{name}: the upstream answered {status}")
        media = self.reader.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.streams = self.streams and status == 200
        expected = events.MEDIA_TYPE if self.streams else "application/json"
        if media != expected and status == 200:
            raise UpstreamError("malformed", f"{name}: the upstream answered {media or 'nothing'!r}, not {expected}")

    def _broken(self, error: object) -> UpstreamError:
        cut = "ended" in str(error)
        message = f"{self._target.name}: the upstream's answer is broken: {error}"
        return UpstreamError("cut" if cut else "malformed", message, again=cut)
