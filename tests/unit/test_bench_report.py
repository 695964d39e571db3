"""From measured slots to rows, ratios, docs/benchmarks.md and its charts."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import results
from bench.charts import lines
from bench.cold.systems import RIE
from bench.features import beside_feast, cold, cost, hits, tiers
from bench.features.beside_feast import FEAST
from bench.load import ladder
from bench.load import summary as load_summary
from bench.load.slots import Slot
from bench.load.tally import FLOOR, PUBLISHED, STEADY, Tally
from bench.memory import benchmark as memory
from bench.memory import summary as memory_summary
from bench.payloads import NESTED
from bench.report import __main__ as report
from bench.report import markdown, page
from bench.servers import FASTAPI, GO, OURS

MACHINE = {
    "cpu": "Some CPU <3 GHz>",
    "cpu_family": "avx2",
    "cores": 2,
    "memory_gb": 8.0,
    "system": "Linux 6 x86_64",
    "load_before": 0.25,
}
TEMPLATE = Path(report.__file__).with_name("template.md").read_text(encoding="utf-8")


def slot(rps: float, p99: float = 40.0, server: float = 12.5) -> Slot:
    return Slot(rps, {"p50": p99 / 4, "p90": p99 / 2, "p99": p99, "min": 1.0}, server, 0.5)


def load_document(ours: float = 100.0) -> dict[str, Any]:
    tally, phases = Tally(), results.Samples()
    for _ in range(3):
        for method in (PUBLISHED, STEADY):
            tally.add(FASTAPI, NESTED, method, slot(10, 1000))
            tally.add(GO, NESTED, method, slot(20, 800))
            tally.add(OURS, NESTED, method, slot(ours, 150))
        tally.add(FLOOR, "binary", STEADY, Slot(200, slot(1).latency_ms, 6.0, 0.0))
        tally.add(OURS, "binary", STEADY, slot(160))
        for name, duration in (("decode", 4.0), ("infer", 6.0), ("encode", 0.1)):
            phases.add(OURS, NESTED, f"{name}_ms", duration)
    about = {"clients": 10, "published_requests": 100, "steady_seconds": 30.0, "idle_servers_share_of_a_core": 0.012}
    document = {"machine": MACHINE | about, "versions": {"go": "go1.26", GO: "1 thread"}, "runs": 3}
    return results.check(document | {"rows": [*tally.rows(), *phases.rows()], "ratios": tally.ratios()})


def memory_document(growth: float = 1.0) -> dict[str, Any]:
    samples = results.Samples()
    for system, peak in ((FASTAPI, 600.0), (GO, 200.0), (OURS, 110.0)):
        for metric in memory_summary.STAGES:
            samples.add(system, NESTED, metric, peak if metric == memory.PEAK else peak / 2)
        samples.add(system, NESTED, "rss_after_100_requests_mb", peak)
        samples.add(system, NESTED, "rss_after_2000_requests_mb", peak * growth)
    for count in (1, 16):
        samples.add(memory.WORKERS, NESTED, f"pss_of_{count}_workers_mb", 50 + 28.0 * (count - 1))
        samples.add(memory.WORKERS, NESTED, f"rss_of_{count}_workers_mb", 70.0 * count)
    samples.add(memory.WORKERS, NESTED, "pss_per_extra_worker_mb", 28.0)
    samples.add(memory.WORKERS, NESTED, "anon_per_extra_worker_mb", 27.0)
    ratios = [*samples.ratios(memory.PEAK, memory.PAIRS), *samples.ratios(memory.IDLE, memory.PAIRS)]
    document = {"machine": MACHINE | {"clients": 10, "requests": 200}, "versions": {}, "runs": 2}
    return results.check(document | {"rows": samples.rows(), "ratios": ratios})


def ladder_document() -> dict[str, Any]:
    samples = results.Samples()
    for cores in (1, 2):
        for clients in (1, 64):
            for system, factor in ((GO, 1), (OURS, 3)):
                where = f"with_{clients}_clients_on_{cores}_cores"
                samples.add(system, NESTED, f"throughput_{where}_rps", 20.0 * factor * cores)
                samples.add(system, NESTED, f"p99_{where}_ms", clients * 10.0)
                samples.add(system, NESTED, f"cpu_{where}_ms", 12.0)
                samples.add(system, NESTED, f"rss_{where}_mb", 100.0)
    document = {"machine": MACHINE | {"seconds": 5.0}, "versions": {}, "runs": 1}
    return results.check(document | {"rows": samples.rows(), "ratios": []})


def features_document() -> dict[str, Any]:
    samples = results.Samples()
    for count in (1, 100):
        for system, payload, factor in ((FEAST, "", 1), (OURS, "", 4), (OURS, beside_feast.STORE, 2)):
            samples.add(system, f"features-{count}{payload}", "throughput_rps", 500.0 * factor / count)
            samples.add(system, f"features-{count}{payload}", "latency_p50_ms", 8.0 / factor)
            samples.add(system, f"features-{count}{payload}", "latency_p99_ms", 40.0 / factor)
    for factor, payload in enumerate(tiers.PAYLOADS, 1):
        samples.add(OURS, payload, "throughput_rps", 4000.0 / factor)
        samples.add(tiers.PROCESS, payload, "request_ms", 0.3 * factor)
        if payload != tiers.SENT:
            samples.add(tiers.PROCESS, payload, "lookup_ms", 0.15 * (factor - 1) ** 2)
    for payload in hits.PAYLOADS:
        for size in (1, 16):
            samples.add(hits.SYSTEM, payload, f"hits_with_{size}_mb_percent", 40.0 + size)
    for payload in cold.PAYLOADS:
        samples.add(RIE, payload, "first_prediction_ms", 90.0)
        samples.add(RIE, payload, "features_ms", 6.5)
    about = {"clients": 10, "cards": 20_000, "slot_seconds": 6.0, "lookups": 1000, "cold_starts": 15}
    about |= {"cards_by_zipf": 100_000, "memory_default_mb": 16.0, "redis_bytes_of_a_card": 1100}
    pairs = [
        *samples.ratios("throughput_rps", beside_feast.PAIRS),
        *samples.ratios("latency_p99_ms", beside_feast.PAIRS),
    ]
    document = {"machine": MACHINE | about, "versions": {"feast-server": "0.67.0"}, "runs": 3}
    return results.check(document | {"rows": samples.rows(), "ratios": pairs})


def value(document: dict[str, Any], metric: str, of: tuple[str, str], to: tuple[str, str]) -> float:
    (found,) = (
        entry["value"]
        for entry in document["ratios"]
        if (entry["metric"], entry["of"], entry["payload"]) == (metric, *of)
        and (entry["to"], entry.get("to_payload", entry["payload"])) == to
    )
    return float(found)


def test_a_ratio_is_the_median_of_each_rounds() -> None:
    tally = Tally()
    for ours, floor in ((10, 20), (90, 100), (160, 200)):
        tally.add(OURS, "binary", STEADY, slot(ours))
        tally.add(FLOOR, "binary", STEADY, slot(floor))
    (entry,) = tally.ratios()
    assert entry["value"] == 0.8  # the medians' ratio would be 0.9
    assert (entry["of"], entry["to"], entry["metric"]) == (OURS, FLOOR, "throughput_rps")


def test_each_rounds_quantiles_become_one_row_of_latencies() -> None:
    tally = Tally()
    for p99 in (40.0, 400.0, 80.0):
        tally.add(OURS, NESTED, STEADY, slot(100, p99))
    (row,) = (row for row in tally.rows() if row["metric"] == "latency_ms")
    assert [row[name] for name in ("min", "p50", "p90", "p99")] == [1.0, 20.0, 40.0, 80.0]
    assert row["unit"] == "ms"
    metrics = {row["metric"] for row in tally.rows()}
    assert metrics >= {"throughput_rps", "latency_p99_ms", "server_cpu_per_request_ms", "generator_cpu_per_request_ms"}


def test_the_best_variant_stays_in_its_place() -> None:
    tally = Tally()
    for name, rps in (("a", 1), ("go 0", 15), ("go 1", 20), ("b", 2)):
        tally.add(name, NESTED, PUBLISHED, slot(rps))
    assert tally.throughput("go 1", NESTED, PUBLISHED) == 20
    tally.keep("go 1", ["go 0", "go 1"], GO)
    names = [row["system"] for row in tally.rows() if row["metric"] == "published_throughput_rps"]
    assert names == ["a", GO, "b"]


def test_ratios_across_payloads_and_methods() -> None:
    document = load_document()
    assert value(document, "throughput_rps", (OURS, NESTED), (GO, NESTED)) == 5
    assert value(document, "throughput_rps", (OURS, NESTED), (FLOOR, "binary")) == 0.5
    assert value(document, "latency_p99_ms", (OURS, NESTED), (GO, NESTED)) == 0.1875
    assert value(document, "published_throughput_rps", (GO, NESTED), (FASTAPI, NESTED)) == 2


def test_the_page_has_the_figures_of_all_files() -> None:
    documents = {"load": load_document(), "memory": memory_document(), "ladder": ladder_document()}
    text, charts = page.page(documents, TEMPLATE, "Words of a person.\n")
    for line in (
        "| GoServe | published | 31.6 | 310 | 411 |",
        "| zeroserve-asgi | here | 100 | 37.5 | 150 |",
        "| json-nested | zeroserve-asgi | 100 | 37.5 | 75.0 | 150 | 12.5 | 0.50 |",
        "| json-nested | 4.00 | 6.00 | 0.10 | 12.5 | 2.40 |",
        "| zeroserve-asgi | 2 | 64 | 120 | 640 | 12.0 | 100 |",
        "| 16 | 470 | 1120 | 28.0 |",
        "Words of a person.",
        "at most 1.2% of a core",
        "1 thread",
        "Not measured: `make bench-cold`.",
    ):
        assert line in text
    assert "$" not in text
    assert set(charts) == {
        "load_throughput.svg",
        "load_p99.svg",
        "ladder_throughput.svg",
        "ladder_p99.svg",
        "memory_stages.svg",
        "memory_long_run.svg",
    }
    for name, chart in charts.items():
        assert f"(img/{name})" in text
        assert ElementTree.fromstring(chart).tag.endswith("svg")


def test_the_page_has_entity_features() -> None:
    text, charts = page.page({"features": features_document()}, TEMPLATE, "")
    for line in (
        "| features-100 | feast-server | 5.00 | 8.00 | 40.0 |",
        "| features-1-redis | zeroserve-asgi | 1000 | 4.00 | 20.0 |",
        "| Redis | 0.60 | 0.60 |",
        "| throughput | zeroserve-asgi features-1 / feast-server features-1 | ≥ 10 | 4.00 | no |",
        "| a lookup adds to a score | score-memory | ≤ 0.2 ms | 0.15 ms | yes |",
        "| from Redis, connected during INIT | 90.0 |",
        "drawn by Zipf's law from 20,000 cards",
    ):
        assert line in text
    names = {"features_lookup.svg", "features_hits.svg", "features_cost.svg", "features_cold.svg"}
    assert names == set(charts)
    for name, chart in charts.items():
        assert f"(img/{name})" in text
        assert ElementTree.fromstring(chart).tag.endswith("svg")


def test_what_a_million_scores_cost() -> None:
    found = {each.tier.partition(",")[0]: each for each in cost.costs(features_document(), 10)}
    duration = 1000 * 1.7275 * 0.0000166667  # a millisecond of a vCPU, a million times
    assert found["memory"].milliseconds == 1
    assert found["memory"].total == pytest.approx(0.20 + duration, rel=1e-3)
    assert found["Valkey"].milliseconds == 2  # 0.9 measured, and half a one of the network
    assert found["Valkey"].parts[3] == pytest.approx(0.084 * 730 * 0.11 / 10)
    assert found["PostgreSQL"].parts[3] == pytest.approx((0.016 * 730 + 0.115 * 20) / 10)


def test_without_any_results_the_page_says_what_to_run() -> None:
    text, charts = page.page({}, TEMPLATE, "")
    assert charts == {}
    for part in ("cold", "load", "ladder", "memory", "features"):
        assert f"`make bench-{part}`" in text


@pytest.mark.parametrize(("ours", "growth", "verdicts"), [(100.0, 1.0, ("yes", "yes")), (99.0, 1.04, ("no", "no"))])
def test_goals_are_reached_or_not(ours: float, growth: float, verdicts: tuple[str, str]) -> None:
    documents = {"load": load_document(ours), "memory": memory_document(growth)}
    text, _ = page.page(documents, TEMPLATE, "")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    (against_go,) = (row for row in rows if row.startswith("| throughput") and "≥ 5 " in row)
    (flat,) = (row for row in rows if row.startswith("| RSS after 2,000 requests"))
    assert (against_go.split(" | ")[-1], flat.split(" | ")[-1]) == (f"{verdicts[0]} |", f"{verdicts[1]} |")
    (cold,) = (row for row in rows if "≤ 0.45" in row)
    assert cold.endswith("| not measured |")


def test_a_peer_that_was_left_out_has_no_figures() -> None:
    document = load_document()
    document["rows"] = [row for row in document["rows"] if row["system"] != GO]
    document["ratios"] = [entry for entry in document["ratios"] if GO not in (entry["of"], entry["to"])]
    document["versions"][GO] = "left out: it could not be built"
    text, _ = page.page({"load": results.check(document)}, TEMPLATE, "")
    assert "| goserve-peer | here | not run |  |  |" in text
    assert "left out: it could not be built" in text
    assert "goserve-peer" not in load_summary.table(document).partition("goserve-peer: left out")[0]


def test_terminal_tables_name_what_they_show() -> None:
    assert "zeroserve-asgi  json-nested    100.0/s" in load_summary.table(load_document())
    said = memory_summary.table(memory_document(1.5))
    assert "110.0 after 100 requests, 165.0 after 2000: +50.0%" in said
    assert "each worker beyond the first: PSS 28.0, of it anonymous 27.0" in said


def test_a_line_chart_draws_what_it_is_given() -> None:
    series = [
        lines.Series("a & b", [(1, 10.0), (4, 50.0)], "#123456"),
        lines.Series("c", [(2, 100.0)], "#654321", True),
    ]
    chart = ElementTree.fromstring(lines.chart("Title", "note", "clients", "ms", series))
    drawn = [element.attrib["points"].split() for element in chart.iter() if element.tag.endswith("polyline")]
    heights = [[float(point.split(",")[1]) for point in line] for line in drawn]
    assert [len(line) for line in heights] == [2, 1]
    assert heights[0][0] > heights[0][1] > heights[1][0]  # down is more in SVG
    assert heights[0][0] - heights[0][1] == pytest.approx(lines.HEIGHT * 0.4, abs=0.2)
    assert "a & b, 4 clients: 50 ms" in "".join(chart.itertext())


def test_numbers_keep_three_digits() -> None:
    assert [markdown.number(each) for each in (0.123, 9.876, 12.34, 1234.5, None)] == [
        "0.12",
        "9.88",
        "12.3",
        "1234",
        markdown.NONE,
    ]


def test_cores_of_a_ladder() -> None:
    assert [ladder.core_counts(count) for count in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_the_report_is_written_from_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    assert report.main() == 1
    assert "make bench" in capsys.readouterr().err
    results.write_text(tmp_path / "bench" / "report" / "template.md", TEMPLATE)
    results.write_text(tmp_path / "docs" / "benchmarks_notes.md", "Words of a person.")
    results.write(tmp_path / "results" / "load.json", load_document())
    assert report.main() == 0
    assert "Words of a person." in (tmp_path / "docs" / "benchmarks.md").read_text()
    assert (tmp_path / "docs" / "img" / "load_p99.svg").exists()
    results.write_text(tmp_path / "results" / "memory.json", "{}")
    assert report.main() == 1
    assert "memory.json" in capsys.readouterr().err
