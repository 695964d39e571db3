"""What is measured, told: the Server-Timing header, and one line of JSON for each request, on Lambda with its metrics.

The line's fields: docs/log.schema.json. Metrics travel inside the line, so nothing is sent anywhere: "Specification:
Embedded metric format" in the CloudWatch user guide.
"""

from __future__ import annotations

import os
import sys
import time

from function.errors import CODE_OF_STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.messages import Request, Response
    from function.settings import Settings

NAMESPACE = "zeroserve"
_LONGEST_ID = 128  # of a caller's own
_HEXADECIMAL = frozenset("0123456789abcdef")


def one_line(text: str) -> str:
    """The text with all that is not printable escaped, line ends and terminal sequences first of all: \\n, \\x1b."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def warn(message: str) -> None:
    """One line of standard error, whatever the message quotes; a full disk or closed pipe there fails no request."""
    try:
        sys.stderr.write(f"zeroserve: warning: {one_line(message)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # ValueError: closed
        pass


def server_timing(request: Request, *, cold: bool = False) -> str:
    """The header's value (W3C Server Timing): phases in milliseconds, and `cold` on a first answer."""
    entries = [f"{name};dur={value:.2f}" for name, value in request.phases.items()]
    return ", ".join([*entries, "cold"] if cold else entries)


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


class Context:
    """What a log line says beside the request itself: who asked, by which way, and when it began."""

    __slots__ = ("cold", "record", "request_id", "source", "started", "trace")

    def __init__(self, source: str, request_id: str | None = None, *, cold: bool = False) -> None:
        """`source` is http, direct, s3 or sqs; without a `request_id` it gets one."""
        self.source, self.cold = source, cold
        self.trace = Trace()
        self.request_id = (request_id or os.urandom(16).hex())[:_LONGEST_ID]
        self.record: str | None = None
        self.started = time.perf_counter()

    def seconds(self) -> float:
        """Since the request began."""
        return time.perf_counter() - self.started

    def finish(self, request: Request, response: Response) -> None:
        """The headers that tell the caller."""
        if request.phases:
            response.headers["Server-Timing"] = server_timing(request, cold=self.cold)
        if header := self.trace.response_header:
            response.headers["traceresponse"] = header


def report(
    settings: Settings, context: Context, request: Request, response: Response, status: int | None = None
) -> None:
    """Writes the request's line to standard output; a full disk or closed pipe there fails no request.

    `status` is what the caller sees where that is not the response's.
    """
    line = log_line(settings, context, request, response, status or response.status)
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):  # ValueError: closed
        pass


def log_line(settings: Settings, context: Context, request: Request, response: Response, status: int) -> str:
    """One JSON object. No payload in it: no path, query or header; a message only where nobody else is told."""
    import json  # loaded long since

    now = time.time()
    phases = {name: value for name, value in request.phases.items() if name != "init" or context.cold}
    fields: dict[str, Any] = {
        "timestamp": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z",
        "level": "ERROR" if status >= 500 else "WARN" if status >= 400 else "INFO",
        "message": "request",
        "source": context.source,
        "record": context.record,
        "request_id": context.request_id,
        "trace_id": context.trace.trace_id,
        "span_id": context.trace.span_id,
        "parent_id": context.trace.parent_id,
        "xray_trace_id": context.trace.xray,
        "method": request.method,
        "route": request.route,
        "model": request.model and request.model[0],
        "version": request.model and request.model[1],
        "artifact_family": request.family,
        "status": status,
        "bytes_in": request.bytes_in,
        "bytes_out": len(response.body),
        "cache": request.cache,
        "cold": context.cold,
        "init_type": settings.initialization_type if settings.function_name else "server",
        "duration_ms": round(context.seconds() * 1000, 3),
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    fields |= {f"{name}_ms": round(value, 3) for name, value in phases.items()}
    if status >= 400:
        fields["error_code"] = CODE_OF_STATUS.get(status, "INTERNAL")
    if (status >= 500 or (status >= 400 and context.record)) and response.body.startswith(b'{"error"'):
        fields["error"] = json.loads(response.body)["error"]
    if settings.function_name:
        fields |= _metrics(settings.function_name, [f"{name}_ms" for name in ("duration", *phases)], fields, now)
    return json.dumps(fields)


def _metrics(function_name: str, latencies: list[str], fields: dict[str, Any], now: float) -> dict[str, Any]:
    """`_aws` and its target members: latency by phase and cold starts by model, errors by code."""
    found: dict[str, Any] = {"function_name": function_name, "cold_starts": int(fields["cold"])}
    metrics = [{"Name": name, "Unit": "Milliseconds"} for name in latencies]
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": [["function_name", "model"] if "model" in fields else ["function_name"]],
            "Metrics": [*metrics, {"Name": "cold_starts", "Unit": "Count"}],
        }
    ]
    if "error_code" in fields:
        found["errors"] = 1
        directives.append(
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["function_name", "error_code"]],
                "Metrics": [{"Name": "errors", "Unit": "Count"}],
            }
        )
    return found | {"_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": directives}}
