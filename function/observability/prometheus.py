"""Metrics of a long-running server in Prometheus's text format, under GoServe's names so that its dashboards work.

The format: prometheus.io/docs/instrumenting/exposition_formats. The client library would cost 60 ms of a start.
"""

from __future__ import annotations

import threading
from bisect import bisect_left

from function.errors import CODE_OF_STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from function.asked import Asked
    from function.exchange import Exchange

# Seconds: those of Go's client library, and three below for small models.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_AGES = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0)  # seconds: to 30 days
NO_ROUTE, NO_MODEL = "unmatched", "unknown"  # as labels: a client's own words would make any number of series
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Metrics:
    """Counters and histograms of one process. Any number of threads may observe and render."""

    CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, dict[tuple[tuple[str, str], ...], int]] = {
            "goserve_http_requests_total": {},
            "goserve_inference_errors_total": {},
            "zeroserve_requests_refused_total": {},
            "zeroserve_features_entities_total": {},
            "zeroserve_features_defaulted_total": {},
            "zeroserve_upstream_tokens_total": {},
            "zeroserve_upstream_failures_total": {},
        }
        self._resting: tuple[str, ...] | None = None  # tiers of entity features; None: there were no features yet
        self._histograms: dict[str, dict[tuple[tuple[str, str], ...], _Histogram]] = {
            "goserve_http_request_duration_seconds": {},
            "goserve_inference_duration_seconds": {},
            "zeroserve_features_duration_seconds": {},
            "zeroserve_upstream_first_token_seconds": {},
            "zeroserve_features_age_seconds": {},
        }

    def observe(self, exchange: Exchange) -> None:
        """One answered request."""
        request, response = exchange.request, exchange.response
        method = ("method", request.method if request.method in _METHODS else "other")
        path = ("path", exchange.route or NO_ROUTE)
        model = ("model_name", exchange.model[0] if exchange.model else NO_MODEL)
        with self._lock:
            self._count("goserve_http_requests_total", (method, ("status", str(response.status)), path))
            self._record("goserve_http_request_duration_seconds", (method, path), exchange.seconds())
            if "infer" in exchange.phases:
                self._record("goserve_inference_duration_seconds", (model,), exchange.phases["infer"] / 1000)
            if exchange.features is not None:
                for source, count in exchange.features.sources.items():
                    self._count("zeroserve_features_entities_total", (model, ("source", source)), count)
                self._count("zeroserve_features_defaulted_total", (model,), exchange.features.defaults)
                self._record("zeroserve_features_duration_seconds", (model,), exchange.phases["features"] / 1000)
                if exchange.features.age is not None:
                    self._record("zeroserve_features_age_seconds", (model,), exchange.features.age)
                self._resting = tuple(exchange.features.resting)
            if exchange.upstream is not None:
                self._observe_upstream(exchange.upstream, model, exchange.phases.get("upstream", 0.0) / 1000)
            if response.status >= 400 and exchange.inference:
                error_type = CODE_OF_STATUS.get(response.status, "INTERNAL")
                self._count("goserve_inference_errors_total", (model, ("error_type", error_type)))

    def _observe_upstream(self, asked: Asked, model: tuple[str, str], seconds: float) -> None:
        for kind in asked.failures:
            self._count("zeroserve_upstream_failures_total", (model, ("kind", kind)))
        if asked.target is not None:
            self._record("zeroserve_upstream_first_token_seconds", (model,), seconds)
        for kind, count in zip(("prompt", "completion"), asked.usage or (), strict=False):
            self._count("zeroserve_upstream_tokens_total", (model, ("kind", kind)), count)

    def refused(self, reason: str) -> None:
        """One request or connection that a limit of the server turned away; docs/operations.md lists the reasons."""
        with self._lock:
            self._count("zeroserve_requests_refused_total", (("reason", reason),))

    def _count(self, name: str, labels: tuple[tuple[str, str], ...], by: int = 1) -> None:
        self._counters[name][labels] = self._counters[name].get(labels, 0) + by

    def _record(self, name: str, labels: tuple[tuple[str, str], ...], seconds: float) -> None:
        bounds = _AGES if name == "zeroserve_features_age_seconds" else BUCKETS
        self._histograms[name].setdefault(labels, _Histogram(bounds)).observe(seconds)

    def render(self) -> bytes:
        """All series, in the order of their first observation."""
        lines = []
        with self._lock:
            for name, counters in self._counters.items():
                lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} counter"]
                lines += [f"{name}{_labels(labels)} {count}" for labels, count in counters.items()]
            for name, histograms in self._histograms.items():
                lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} histogram"]
                for labels, histogram in histograms.items():
                    lines += histogram.lines(name, labels)
            if self._resting is not None:
                name = "zeroserve_features_tier_resting"
                lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
                lines += [f'{name}{{tier="{tier}"}} {int(tier in self._resting)}' for tier in ("store", "database")]
        return "\n".join([*lines, ""]).encode()


_HELP = {
    "goserve_http_requests_total": "HTTP requests answered, by route.",
    "goserve_http_request_duration_seconds": "From the request's start to its answer, in seconds.",
    "goserve_inference_duration_seconds": "Time in ONNX Runtime, in seconds.",
    "goserve_inference_errors_total": "Inference requests answered with an error, by its code.",
    "zeroserve_features_entities_total": "Entities looked up, by where they were found.",
    "zeroserve_features_defaulted_total": "Values of entity features that were defaults.",
    "zeroserve_features_duration_seconds": "Time to look entity features up, in seconds.",
    "zeroserve_features_age_seconds": "Of each request the oldest observation that was served, in seconds.",
    "zeroserve_features_tier_resting": "1 while a store of entity features rests after failures.",
    "zeroserve_upstream_tokens_total": "Tokens of prompts and answers, as upstreams count them.",
    "zeroserve_upstream_failures_total": "Attempts to ask an upstream, and streams of one, that failed.",
    "zeroserve_upstream_first_token_seconds": "From the call of an upstream to its first token, retries included.",
    "zeroserve_requests_refused_total": "Requests and connections turned away by a limit of the server.",
}


class _Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: tuple[tuple[str, str], ...]) -> list[str]:
        """Buckets hold all that is not above them."""
        lines, count = [], 0
        for bound, here in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            count += here
            lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {count}")
        return [*lines, f"{name}_sum{_labels(labels)} {self.total}", f"{name}_count{_labels(labels)} {count}"]


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
