"""Prometheus's text: GoServe's names, labels that stay few, histograms that add up."""

from __future__ import annotations

import re
import threading

from function.exchange import Exchange, LookedUp
from function.messages import Request, Response
from function.observability.prometheus import BUCKETS, Metrics

SAMPLE = re.compile(r'^(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? ([0-9.e+-]+)$')


def answered(
    route: str = "",
    *,
    method: str = "POST",
    status: int = 200,
    seconds: float = 0.1,
    model: str | None = None,
    infer: float | None = None,
) -> Exchange:
    class Timed(Exchange):
        def seconds(self) -> float:
            return seconds

    exchange = Timed(Request(method, "/raw/secret/path", {}, {}, b""))
    exchange.route, exchange.inference = route, route.endswith("/infer")
    exchange.model = (model, "1") if model else None
    exchange.phases = {} if infer is None else {"infer": infer}
    exchange.response = Response(status, {}, b"")
    return exchange


def samples(metrics: Metrics) -> dict[str, float]:
    """Series as text -> value; every line must be one of the format."""
    found = {}
    for line in metrics.render().decode().splitlines():
        if not line.startswith(("# HELP ", "# TYPE ")):
            match = SAMPLE.match(line)
            assert match, line
            found[line.rpartition(" ")[0]] = float(match[3])
    return found


def test_requests_inferences_and_errors_are_counted_under_goserves_names() -> None:
    metrics = Metrics()
    route = "/v1/models/{model}/infer"
    metrics.observe(answered(route, model="digits", infer=2.0, status=200, seconds=0.004))
    metrics.observe(answered(route, model="digits", status=400, seconds=0.2))
    metrics.observe(answered(route, status=404, seconds=0.2))
    metrics.observe(answered(method="GET", status=404, seconds=20.0))
    found = samples(metrics)
    assert found[f'goserve_http_requests_total{{method="POST",status="200",path="{route}"}}'] == 1
    assert found['goserve_http_requests_total{method="GET",status="404",path="unmatched"}'] == 1
    assert found['goserve_inference_errors_total{model_name="digits",error_type="INVALID_ARGUMENT"}'] == 1
    assert found['goserve_inference_errors_total{model_name="unknown",error_type="NOT_FOUND"}'] == 1
    assert found['goserve_inference_duration_seconds_count{model_name="digits"}'] == 1
    assert found['goserve_inference_duration_seconds_sum{model_name="digits"}'] == 0.002
    assert found['goserve_inference_duration_seconds_bucket{model_name="digits",le="0.001"}'] == 0
    assert found['goserve_inference_duration_seconds_bucket{model_name="digits",le="0.0025"}'] == 1
    assert found['goserve_http_request_duration_seconds_bucket{method="GET",path="unmatched",le="10.0"}'] == 0
    assert found['goserve_http_request_duration_seconds_bucket{method="GET",path="unmatched",le="+Inf"}'] == 1
    assert "secret" not in metrics.render().decode()


def test_a_bucket_holds_its_own_bound() -> None:
    metrics = Metrics()
    metrics.observe(answered("/", method="GET", seconds=BUCKETS[3]))
    labels = 'method="GET",path="/"'
    found = samples(metrics)
    assert found[f'goserve_http_request_duration_seconds_bucket{{{labels},le="{BUCKETS[2]}"}}'] == 0
    assert found[f'goserve_http_request_duration_seconds_bucket{{{labels},le="{BUCKETS[3]}"}}'] == 1


def test_clients_words_make_no_series() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.observe(answered(method=f"M{number}", status=404, seconds=0.1))
    assert samples(metrics)['goserve_http_requests_total{method="other",status="404",path="unmatched"}'] == 50


def test_a_models_name_is_escaped() -> None:
    metrics = Metrics()
    metrics.observe(answered("/x/infer", model='a"b\\c\nd', infer=1.0, status=200, seconds=0.1))
    assert 'goserve_inference_duration_seconds_count{model_name="a\\"b\\\\c\\nd"}' in samples(metrics)


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(500):
            metrics.observe(answered("/", method="GET", status=200, seconds=0.1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(metrics)['goserve_http_requests_total{method="GET",status="200",path="/"}'] == 4000


def test_what_was_looked_up_is_told_with_its_age() -> None:
    metrics = Metrics()
    for sources, ages in (({"memory": 2}, [0, 1000.0]), ({"store": 1}, [990.0, 400.0]), ({"failed": 1}, [])):
        exchange = answered("/v1/models/{model}:predict", model="fraud", infer=1.0)
        exchange.phases["features"] = 2.0
        exchange.features = LookedUp()
        exchange.features.sources = sources
        for event_time in ages:
            exchange.features.served(event_time, 1000.0)
        metrics.observe(exchange)
    found = samples(metrics)
    name = "zeroserve_features_age_seconds"
    assert found['zeroserve_features_entities_total{model_name="fraud",source="memory"}'] == 2
    assert found['zeroserve_features_duration_seconds_count{model_name="fraud"}'] == 3
    assert found[f'{name}_count{{model_name="fraud"}}'] == 2  # where nothing was served there is no age
    assert found[f'{name}_sum{{model_name="fraud"}}'] == 600.0  # of each request the oldest
    assert found[f'{name}_bucket{{model_name="fraud",le="1.0"}}'] == 1
    assert found[f'{name}_bucket{{model_name="fraud",le="300.0"}}'] == 1
    assert found[f'{name}_bucket{{model_name="fraud",le="900.0"}}'] == 2
