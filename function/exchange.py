"""One request on its way through the function: its answer, what became of it, and what was measured."""

from __future__ import annotations

import os
import time

from function.messages import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from function.asked import Asked
    from function.messages import Request

    class InputObjects(Protocol):
        """What reads objects for the request, and keeps memory for them."""

        def read(self, uri: str) -> bytes: ...
        def close(self) -> None: ...


_RESERVE_S = 0.5  # of an invocation, for the answer to leave
_LONGEST_ID = 128  # characters of a request id that the caller sent
_HEXADECIMAL = frozenset("0123456789abcdef")


class Exchange:
    """A request, its response, and what the log and the metrics tell of them.

    `source` is http, direct, s3, sqs or kinesis, `record` the name of the latter three's record. `route` is the pattern
    that matched, and `inference` whether it is one that runs a model; `model` name and version, `family` its
    artifact's, `phases` milliseconds by name, `cache` memory, shared or miss where the result cache was asked under
    `cache_key`, `features` what was looked up, `upstream` who was asked instead of a model here, `bytes_in` the length
    of the body as it came, `bytes_out` what has left of an answer that streams, `objects` what the request has read by
    reference, `deadline` when Lambda ends the invocation, by `time.perf_counter`.
    """

    __slots__ = (
        "_trace",
        "bytes_in",
        "bytes_out",
        "cache",
        "cache_key",
        "cold",
        "deadline",
        "family",
        "features",
        "inference",
        "model",
        "objects",
        "phases",
        "record",
        "request",
        "request_id",
        "response",
        "route",
        "source",
        "started",
        "upstream",
        "xray",
    )

    def __init__(
        self,
        request: Request,
        source: str = "http",
        request_id: str | None = None,
        *,
        xray: str | None = None,
        cold: bool = False,
    ) -> None:
        """Without a `request_id` it gets one; a caller's own is cut to 128 characters. `xray` is its X-Ray header."""
        self.request, self.source, self.cold = request, source, cold
        self.request_id = (request_id or os.urandom(16).hex())[:_LONGEST_ID]
        self.started = time.perf_counter()
        self.response = Response(0, {}, b"")
        self.record: str | None = None
        self.deadline: float | None = None
        self.xray = xray
        self._trace: Trace | None = None
        self.phases: dict[str, float] = {}
        self.model: tuple[str, str] | None = None
        self.family: str | None = None
        self.cache: str | None = None
        self.features: LookedUp | None = None
        self.upstream: Asked | None = None
        self.cache_key: str | None = None
        self.bytes_in = self.bytes_out = 0
        self.objects: InputObjects | None = None
        self.route, self.inference = "", False

    def ends_with(self, context: object) -> None:
        """Sets the deadline by Lambda's context, where there is one."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        if remaining is not None:
            self.ends_within(remaining())

    def ends_within(self, milliseconds: float) -> None:
        """Sets the deadline: so much time is left of Lambda's invocation."""
        self.deadline = time.perf_counter() + milliseconds / 1000 - _RESERVE_S

    @property
    def trace(self) -> Trace:
        """Made when it is first asked for, by when the adapter has read the request's headers."""
        if self._trace is None:
            self._trace = Trace(self.request.headers.get("traceparent"), self.xray)
        return self._trace

    def phase(self, name: str) -> Phase:
        """A `with` block whose milliseconds are added to `phases`."""
        return Phase(self.phases, name)

    def seconds(self) -> float:
        """Since the request began."""
        return time.perf_counter() - self.started


class LookedUp:
    """What the answer and the metrics tell of the entity features that were looked up for a request.

    `defaulted`: {"row", "view", "status", "columns"} for each row of the request that is not wholly what a store holds;
    `sources`: how many entities came from where; `defaults`: how many values are defaults; `resting`: tiers at rest;
    `age`: seconds since the oldest observation that was served, None where no time is known.
    """

    __slots__ = ("age", "defaulted", "defaults", "resting", "sources")

    def __init__(self) -> None:
        self.defaulted: list[dict[str, Any]] = []
        self.sources: dict[str, int] = {}
        self.defaults = 0
        self.resting: list[str] = []
        self.age: float | None = None

    def found(self, source: str) -> None:
        """Counts an entity that came from `source`."""
        self.sources[source] = self.sources.get(source, 0) + 1

    def served(self, event_time: float, now: float) -> None:
        """An observation of `event_time` (both seconds since 1970; 0: unknown) is part of the answer."""
        if event_time and (self.age is None or now - event_time > self.age):
            self.age = max(0.0, now - event_time)

    def shares(self) -> dict[str, float]:
        """Which part of the entities came from where."""
        total = sum(self.sources.values())
        return {source: count / total for source, count in self.sources.items()}

    def counts(self) -> dict[str, int]:
        """What the log and the metrics tell: entities by source, values that are defaults, tiers at rest."""
        return {**self.sources, "defaulted": self.defaults, "resting": len(self.resting)}

    def note(self, row: int, view: str, status: str, columns: list[str]) -> None:
        self.defaulted.append({"row": row, "view": view, "status": status, "columns": columns})
        self.defaults += len(columns)


class Phase:
    """Adds the milliseconds of a block to `phases`."""

    __slots__ = ("name", "phases", "start")

    def __init__(self, phases: dict[str, float], name: str) -> None:
        self.phases, self.name = phases, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.phases[self.name] = self.phases.get(self.name, 0.0) + (time.perf_counter() - self.start) * 1000


class Trace:
    """Where a request stands in its caller's trace (W3C Trace Context, www.w3.org/TR/trace-context) or X-Ray's.

    `trace_id` is the caller's, else X-Ray's in W3C's form, else a new one; `span_id` is this request's own.
    """

    __slots__ = ("flags", "parent_id", "span_id", "trace_id", "xray")

    def __init__(self, traceparent: str | None = None, xray: str | None = None) -> None:
        parsed = _parse(traceparent or "")
        root = (xray or "").partition("Root=")[2].partition(";")[0]  # 1-5759e988-bd862e3fe1be46a994272793
        self.xray = root or None
        self.span_id = os.urandom(8).hex()
        self.trace_id = parsed[0] if parsed else _from_xray(root) or os.urandom(16).hex()
        self.parent_id = parsed[1] if parsed else None
        self.flags = parsed[2] if parsed else None

    @property
    def response_header(self) -> str | None:
        """The value of `traceresponse` for a caller that sent a traceparent: its trace, and our span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}" if self.parent_id else None


def _parse(traceparent: str) -> tuple[str, str, str] | None:
    """Trace id, parent id and flags; None when the header has to be ignored. Later versions may have more fields."""
    parts = traceparent.strip().split("-")
    if [len(part) for part in parts[:4]] != [2, 32, 16, 2] or not _HEXADECIMAL.issuperset("".join(parts[:4])):
        return None
    version, trace_id, parent_id, flags = parts[:4]
    if version == "ff" or (version == "00" and len(parts) > 4) or not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return trace_id, parent_id, f"{int(flags, 16) & 1:02x}"


def _from_xray(root: str) -> str | None:
    digits = root[2:].replace("-", "")
    return digits if root[:2] == "1-" and len(digits) == 32 and _HEXADECIMAL.issuperset(digits) else None
