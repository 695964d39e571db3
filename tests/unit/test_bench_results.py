"""The benchmarks' own machinery: result files, payloads that are checked, charts, the page cache, one cold start."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from bench import payloads, results
from bench.charts import bars
from bench.charts.svg import COLOURS
from bench.cold import page_cache
from bench.cold.run import PHASES
from infra.payload import HttpResponse
from models import manifest

if TYPE_CHECKING:
    from pathlib import Path


def document(**changes: Any) -> dict[str, Any]:
    samples = results.Samples()
    for value in (10.0, 30.0, 20.0):
        samples.add("slow", "binary", "latency_ms", value)
        samples.add("fast", "binary", "latency_ms", value / 2)
    ratios = samples.ratios("latency_ms", [(("fast", "binary"), ("slow", "binary"))])
    return {"machine": {}, "versions": {}, "runs": 3, "rows": samples.rows(), "ratios": ratios} | changes


def test_a_row_has_nearest_rank_percentiles_and_the_unit_of_its_metric() -> None:
    found = results.row("s", "binary", "latency_ms", [float(value) for value in range(100, 0, -1)])
    expected = {"p50": 50.5, "p90": 90.0, "p99": 99.0, "min": 1.0, "unit": "ms"}
    assert found == {"system": "s", "payload": "binary", "metric": "latency_ms"} | expected
    assert results.row("s", "binary", "throughput_rps", [3.0])["unit"] == "1/s"
    with pytest.raises(results.ResultError, match="end with its unit"):
        results.row("s", "binary", "latency", [3.0])


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_the_medians() -> None:
    found = results.ratio("latency_ms", ("a", "binary"), ("b", "json-nested"), [1.0, 10.0, 100.0], [10.0, 1.0, 50.0])
    assert found["value"] == 2.0  # of 0.1, 10 and 2; the medians are 10 and 10
    assert found["to_payload"] == "json-nested"
    assert "to_payload" not in results.ratio("latency_ms", ("a", "binary"), ("b", "binary"), [1.0], [2.0])


def test_rounds_must_match() -> None:
    with pytest.raises(ValueError, match="shorter"):
        results.ratio("latency_ms", ("a", "binary"), ("b", "binary"), [1.0, 2.0], [1.0])


def test_the_best_variant_keeps_all_its_metrics_and_the_others_go() -> None:
    samples = results.Samples()
    for variant, milliseconds in (("peer, 2 threads", 9.0), ("peer, 1 thread", 7.0)):
        samples.add(variant, "binary", "latency_ms", milliseconds)
        samples.add(variant, "binary", "peak_rss_mb", milliseconds)
    best = samples.keep_best(["peer, 2 threads", "peer, 1 thread"], "peer", "binary", "latency_ms")
    assert best == "peer, 1 thread"
    assert [(row["system"], row["metric"], row["p50"]) for row in samples.rows()] == [
        ("peer", "latency_ms", 7.0),
        ("peer", "peak_rss_mb", 7.0),
    ]


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "latency.json"
    results.write(path, document())
    results.write(path, document(runs=4))
    assert results.read(path) == document(runs=4)
    assert results.p50(results.read(path), "slow", "binary", "latency_ms") == 20.0
    assert results.p50(results.read(path), "slow", "jpeg", "latency_ms") is None
    assert [each.name for each in path.parent.iterdir()] == [path.name]


ROW = document()["rows"][0]
RATIO = document()["ratios"][0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra": 1},
        {"runs": 0},
        {"runs": "3"},
        {"rows": []},
        {"rows": [ROW, ROW]},
        {"rows": [ROW | {"unit": "s"}]},
        {"rows": [ROW | {"p90": float("nan")}]},
        {"rows": [ROW | {"p90": ROW["p50"] - 1}]},
        {"rows": [{name: ROW[name] for name in ROW if name != "min"}]},
        {"ratios": [RATIO | {"value": 0.0}]},
        {"ratios": [RATIO | {"to": "unknown"}]},
        {"ratios": [RATIO | {"to_payload": "jpeg"}]},
    ],
    ids=lambda wrong: json.dumps(wrong)[:50],
)
def test_a_wrong_file_is_neither_written_nor_read(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "wrong.json"
    with pytest.raises(results.ResultError):
        results.write(path, document(**wrong))
    assert not path.exists()
    path.write_text(json.dumps(document(**wrong)))
    with pytest.raises(results.ResultError, match=path.name):
        results.read(path)


@pytest.fixture(scope="module")
def ladder(digits_prepared: Path) -> dict[str, payloads.Payload]:
    model = manifest.read(digits_prepared / "digits")
    return {payload.name: payload for payload in payloads.ladder(model)}


def test_the_ladder_has_the_documented_sizes_and_the_same_bytes_each_time(ladder: dict[str, payloads.Payload]) -> None:
    assert list(ladder) == list(payloads.NAMES)
    assert 3.0e6 < len(ladder["json-nested"].body) < 3.2e6
    assert len(ladder["binary"].body) == 3 * 224 * 224 * 4
    assert 90_000 < len(ladder["jpeg"].body) < 110_000
    assert payloads.photograph() == ladder["jpeg"].body


def answer(scores: list[float], status: int = 200) -> HttpResponse:
    return HttpResponse(status, [], json.dumps({"outputs": {"logits": [scores]}}).encode())


def test_only_a_right_answer_passes(ladder: dict[str, payloads.Payload]) -> None:
    payload = ladder["json-nested"]
    right = list(payload.expected)
    payload.check(answer([score + 5e-4 for score in right]))
    swapped = right[::-1]
    for wrong in (
        answer(right, status=500),
        answer(right[:-1]),
        answer([right[0] + 2e-3, *right[1:]]),
        answer([float("nan"), *right[1:]]),
        answer(swapped),
    ):
        with pytest.raises(payloads.WrongAnswerError, match="json-nested"):
            payload.check(wrong)


def test_a_chart_is_xml_with_each_value_and_only_the_segments_that_occur() -> None:
    bar = bars.Bar("a <system>", {"load": 120.0, "run": 30.0, "never": 0.0}, 150.0)
    text = bars.chart("Title & more", "one\ntwo", "ms", [bars.Group("binary", [bar])], ["never", "load", "run"])
    words = [element.text for element in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    for word in ("Title & more", "one", "two", "a <system>", "120", "30", "150 ms", "load", "run", "binary"):
        assert word in words
    assert "never" not in words
    assert "prefers-color-scheme: dark" in text


def test_the_page_cache_shows_what_a_run_read(tmp_path: Path) -> None:
    read, unread = tmp_path / "read.bin", tmp_path / "unread.bin"
    for path in (read, unread):
        path.write_bytes(os.urandom(300_000))
    os.sync()
    page_cache.drop(read)
    if page_cache.resident(read):
        pytest.skip("the file system of the temporary folder keeps its pages (tmpfs does)")

    def run() -> dict[Path, int]:
        read.read_bytes()
        return {}

    assert page_cache.touched(tmp_path, run) == {read: 300_000}


def test_every_phase_has_a_colour_of_its_own() -> None:
    assert len(set(COLOURS)) == len(COLOURS) >= len(PHASES)
