"""What is measured, told: the Server-Timing header, and one line of JSON for each request, on Lambda with its metrics.

The line's fields: docs/log.schema.json. Metrics travel inside the line, so nothing is sent anywhere: "Specification:
Embedded metric format" in the CloudWatch user guide.
"""

from __future__ import annotations

import sys
import time

from function.errors import CODE_OF_STATUS
from function.native import cjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.exchange import Exchange
    from function.settings import Settings

NAMESPACE = "zeroserve"


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


def server_timing(exchange: Exchange) -> str:
    """The header's value (W3C Server Timing): phases in milliseconds, and `cold` on a first answer."""
    entries = [f"{name};dur={value:.2f}" for name, value in exchange.phases.items()]
    if exchange.features is not None and exchange.features.sources:  # which share of the entities came from where
        shares = exchange.features.shares()
        told = " ".join(f"{source} {share:.0%}" for source, share in shares.items())
        at = list(exchange.phases).index("features")
        entries[at] += f';desc="{told}"'
    return ", ".join([*entries, "cold"] if exchange.cold else entries)


def finish(exchange: Exchange) -> None:
    """The response's headers that tell the caller what was measured, and where its trace goes on."""
    if exchange.phases:
        exchange.response.headers["Server-Timing"] = server_timing(exchange)
    if header := exchange.trace.response_header:
        exchange.response.headers["traceresponse"] = header


def report(settings: Settings, exchange: Exchange, status: int | None = None) -> None:
    """Writes the exchange's line to standard output; a full disk or closed pipe there fails no request.

    `status` is what the caller sees where that is not the response's.
    """
    line = log_line(settings, exchange, status or exchange.response.status)
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):  # ValueError: closed
        pass


def log_line(settings: Settings, exchange: Exchange, status: int) -> str:
    """One JSON object. No payload in it: no path, query or header; a message only where nobody else is told."""
    now = time.time()
    phases = {name: value for name, value in exchange.phases.items() if name != "init" or exchange.cold}
    fields: dict[str, Any] = {
        "timestamp": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z",
        "level": "ERROR" if status >= 500 else "WARN" if status >= 400 else "INFO",
        "message": "request",
        "source": exchange.source,
        "record": exchange.record,
        "request_id": exchange.request_id,
        "trace_id": exchange.trace.trace_id,
        "span_id": exchange.trace.span_id,
        "parent_id": exchange.trace.parent_id,
        "xray_trace_id": exchange.trace.xray,
        "method": exchange.request.method,
        "route": exchange.route,
        "model": exchange.model and exchange.model[0],
        "version": exchange.model and exchange.model[1],
        "artifact_family": exchange.family,
        "status": status,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out or len(exchange.response.body),
        "cache": exchange.cache,
        "cold": exchange.cold,
        "init_type": settings.initialization_type if settings.function_name else "server",
        "duration_ms": round(exchange.seconds() * 1000, 3),
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    fields |= {f"{name}_ms": round(value, 3) for name, value in phases.items()}
    if exchange.features is not None:
        fields["features"] = exchange.features.counts()
        if exchange.features.age is not None:
            fields["features_age_s"] = round(exchange.features.age, 3)
    if exchange.upstream is not None:
        fields["upstream"] = exchange.upstream.told()
    if status >= 400:
        fields["error_code"] = CODE_OF_STATUS.get(status, "INTERNAL")
    if exchange.response.error and (status >= 500 or (status >= 400 and exchange.record)):
        fields["error"] = exchange.response.error.message
    if settings.function_name:
        fields |= _metrics(settings.function_name, [f"{name}_ms" for name in ("duration", *phases)], fields, now)
    return cjson.dumps(fields)


def _metrics(function_name: str, latencies: list[str], fields: dict[str, Any], now: float) -> dict[str, Any]:
    """`_aws` and its target members: latency by phase and cold starts by model, errors by code."""
    members: dict[str, Any] = {"function_name": function_name, "cold_starts": int(fields["cold"])}
    metrics = [{"Name": name, "Unit": "Milliseconds"} for name in latencies]
    if "features" in fields:
        counts = {f"features_{name}": count for name, count in fields["features"].items()}
        members |= counts
        metrics += [{"Name": name, "Unit": "Count"} for name in counts]
    if "features_age_s" in fields:
        metrics.append({"Name": "features_age_s", "Unit": "Seconds"})
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": [["function_name", "model"] if "model" in fields else ["function_name"]],
            "Metrics": [*metrics, {"Name": "cold_starts", "Unit": "Count"}],
        }
    ]
    if "error_code" in fields:
        members["errors"] = 1
        directives.append(
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["function_name", "error_code"]],
                "Metrics": [{"Name": "errors", "Unit": "Count"}],
            }
        )
    return members | {"_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": directives}}
