"""The benchmarks themselves, with tiny numbers: what they write is whole, and only right answers are timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import cache, gobuild, payloads, postgres, results, servers
from bench.cold import benchmark as cold
from bench.cold import summary
from bench.cold.http_systems import SERVER
from bench.cold.rivals import LWA
from bench.features import benchmark as features
from bench.features import beside_feast, feast_server, hits, tiers
from bench.features import cold as features_cold
from bench.features import summary as features_summary
from bench.load import benchmark as load
from bench.load import ladder, slots
from bench.load.tally import FLOOR
from bench.loadgen import generator
from bench.memory import benchmark as memory
from bench.peers import launch, lwa
from bench.servers import OURS
from function.native import ort_capi
from infra.emulator import Emulator
from infra.payload import decode_answer
from infra.rie import ROOT
from models import manifest, prepare

if TYPE_CHECKING:
    from models.manifest import Manifest


@pytest.fixture(scope="module")
def digits(digits_prepared: Path) -> Manifest:
    return manifest.read(digits_prepared / "digits")


@pytest.fixture
def loadgen(capsys: pytest.CaptureFixture[str]) -> None:
    if generator.build() is None:
        pytest.skip(capsys.readouterr().out.strip())


@pytest.fixture
def golambda(capsys: pytest.CaptureFixture[str]) -> Path:
    binary = launch.build_golambda()
    if binary is None:
        pytest.skip(capsys.readouterr().out.strip())
    return binary


@pytest.mark.usefixtures("golambda")
def test_cold_starts_of_the_rivals_and_of_the_server(digits: Manifest) -> None:
    names = (*cold.GO_LAMBDAS, SERVER, servers.GO, servers.FASTAPI)
    document, _ = cold.bench(digits, names, ("json-nested", "binary"), runs=1)
    results.check(document)
    found = {payload: set(systems) for payload, systems in summary.cells(document).items()}
    assert found == {"json-nested": set(names), "binary": set(names) - {servers.FASTAPI}}
    for payload, systems in summary.cells(document).items():
        for system in systems:
            total = results.p50(document, system, payload, "first_prediction_ms")
            assert total is not None
            assert sum(summary.phases(document, system, payload).values()) == pytest.approx(total, rel=0.05)
    assert {(entry["of"], entry["to"]) for entry in document["ratios"]} == {
        (SERVER, servers.GO),
        (SERVER, servers.FASTAPI),
    }


@pytest.mark.skipif(not lwa.CACHED.exists(), reason="make bench-cold builds AWS's adapter: minutes of cargo")
def test_a_cold_start_behind_awss_web_adapter(digits: Manifest) -> None:
    document, _ = cold.bench(digits, (LWA,), ("json-nested",), runs=1)
    assert summary.cells(results.check(document)) == {"json-nested": [LWA]}


@pytest.mark.parametrize("load", ["init", "overlapped"])
def test_the_go_lambda_answers_what_it_cannot_serve_with_an_error(digits: Manifest, golambda: Path, load: str) -> None:
    env = launch.golambda_environ(digits.path, digits.name, Path(ort_capi.find_library()), load)
    octets = {"content-type": "application/octet-stream"}
    raw = octets | {"inference-header-content-length": "0"}
    json_type = {"content-type": "application/json"}
    requests = [
        ("/v2/models/digits/infer", raw, b"12345", 400),
        ("/v2/models/digits/infer", octets, b"12345678", 400),
        ("/v1/models/digits/infer", json_type, b'{"tensors": {"other": [1]}}', 400),
        ("/v1/models/digits/infer", json_type, b"{", 400),
        ("/v1/models/other/infer", json_type, b"{}", 404),
    ]
    with Emulator(env=env, command=[str(golambda)]) as emulator:
        for path, headers, body, status in requests:
            event = payloads.Payload("json-nested", path, headers, body, []).event()
            assert decode_answer(emulator.invoke(event)).status == status, (path, body)
        for payload in payloads.ladder(digits, ["binary", "json-nested"]):
            payload.check(decode_answer(emulator.invoke(payload.event())))


def test_a_go_program_is_built_anew_when_a_module_beside_it_changes(tmp_path: Path) -> None:
    beside = tmp_path / "beside" / "inner"
    beside.mkdir(parents=True)
    (beside / "a.go").write_text("package inner\n")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "go.mod").write_text("module program\n\nreplace beside => ../beside\n")
    (tmp_path / "program" / "main.go").write_text("package main\n")
    found = [path.name for path in gobuild.sources(tmp_path / "program")]
    assert sorted(found) == ["a.go", "go.mod", "main.go"]


@pytest.mark.usefixtures("loadgen")
def test_load(digits: Manifest) -> None:
    document = results.check(load.bench(digits, (OURS, FLOOR), 1, 0.4, 10))
    cells = {(row["system"], row["payload"]) for row in document["rows"] if row["metric"] == "throughput_rps"}
    assert cells == {(FLOOR, "binary"), *((OURS, name) for name in payloads.NAMES)}
    for row in document["rows"]:
        assert row["p50"] > 0 or row["metric"] in ("decode_ms", "encode_ms"), row
    metrics = {row["metric"] for row in document["rows"] if row["payload"] == "json-nested"}
    assert metrics >= {"latency_ms", "published_throughput_rps", "published_latency_ms", "decode_ms", "infer_ms"}
    ratios = {(entry["payload"], entry.get("to_payload", entry["payload"])) for entry in document["ratios"]}
    assert ratios == {(name, "binary") for name in payloads.NAMES}
    assert document["machine"]["idle_servers_share_of_a_core"] == 0


@pytest.mark.usefixtures("loadgen")
def test_memory(digits: Manifest) -> None:
    names = (OURS, memory.WORKERS)
    document = results.check(memory.bench(digits, names, 1, requests=10, long_run=200, counts=(1, 2)))
    found = {row["metric"]: row["p50"] for row in document["rows"] if row["system"] == OURS}
    assert 20 < found["start_rss_mb"] < found["peak_rss_mb"] < 2000
    assert found["start_anon_mb"] < found["start_pss_mb"] <= found["start_rss_mb"]
    assert {"rss_after_100_requests_mb", "rss_after_200_requests_mb"} <= set(found)
    many = {row["metric"]: row["p50"] for row in document["rows"] if row["system"] == memory.WORKERS}
    extra = many["pss_of_2_workers_mb"] - many["pss_of_1_workers_mb"]
    assert many["pss_per_extra_worker_mb"] == pytest.approx(extra, abs=0.01)
    assert 0 < many["anon_per_extra_worker_mb"] < many["rss_of_1_workers_mb"]


@pytest.mark.usefixtures("loadgen")
@pytest.mark.skipif(cache.VALKEY is None or postgres.INITDB is None, reason="redis-server or postgresql is missing")
def test_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feast itself with TEST_FEAST=1 alone: its environment takes 650 MB."""
    feast = bool(os.environ.get("TEST_FEAST"))
    if not feast:
        monkeypatch.setattr(feast_server, "python", lambda: None)
    monkeypatch.setattr(features_cold, "FEWEST", 1)
    monkeypatch.setitem(features.PARTS, "hits", lambda setup: hits.measure(setup, 500, 1000, (1, 2)))
    monkeypatch.setitem(features.PARTS, "tiers", lambda setup: tiers.measure(setup, 8))
    model = manifest.read(manifest.folder_of("fraud"))
    prepare.prepare(model)
    document = results.check(features.bench(model, list(features.PARTS), 1, 0.3, 600))
    found = {(row["payload"], row["metric"]): row["p50"] for row in document["rows"] if row["system"] != "feast-server"}
    for payload in (*beside_feast.PAYLOADS, *tiers.PAYLOADS):
        assert found[payload, "throughput_rps"] > 0
    assert 0 < found["zipf-1", "hits_with_1_mb_percent"] <= found["zipf-1", "hits_with_2_mb_percent"] < 100
    for payload in ("score-memory", "score-redis", "score-postgres"):
        assert 0 < found[payload, "lookup_ms"] < found[payload, "request_ms"]
    assert found["cold-redis", "first_prediction_ms"] > found["cold-redis", "features_ms"] > 0
    assert bool(document["ratios"]) == feast
    assert "left out" in document["versions"]["feast-server"] or feast
    assert "cold-file" in features_summary.table(document)
    part = features.merged({**document, "rows": [], "ratios": []}, ["tiers"], document)
    assert {row["payload"] for row in document["rows"]} - {row["payload"] for row in part["rows"]} == set(
        tiers.PAYLOADS
    )


@pytest.mark.usefixtures("loadgen")
def test_ladder(digits: Manifest) -> None:
    document = results.check(ladder.bench(digits, (OURS,), 1, 0.3, (1, 3)))
    found = {(kind, clients, cores) for _, kind, clients, cores, _ in ladder.points(document)}
    cores = ladder.core_counts(document["machine"]["cores"])
    assert found == {(k, c, n) for k in ("throughput", "p99", "cpu", "rss") for c in (1, 3) for n in cores}


def test_a_wrong_answer_ends_a_benchmark(digits: Manifest, tmp_path: Path) -> None:
    (payload,) = payloads.ladder(digits, ["binary"])
    wrong = replace(payload, expected=list(reversed(payload.expected)))
    with servers.zeroserve(digits) as server:
        payload.check(servers.ask(server.url, payload))
        with pytest.raises(payloads.WrongAnswerError):
            wrong.check(servers.ask(server.url, wrong))
    with pytest.raises(payloads.WrongAnswerError), slots.floor(digits, wrong, tmp_path):
        pass


def test_a_server_that_does_not_start_says_why(digits: Manifest) -> None:
    said = pytest.raises(RuntimeError, match="QUEUE_SIZE must be a whole number")
    with said, servers.zeroserve(digits, {"QUEUE_SIZE": "many"}):
        pass


@pytest.mark.skipif(cache.VALKEY is None, reason="neither valkey-server nor redis-server is installed")
def test_the_cache_benchmark_takes_its_server_along_when_it_fails() -> None:
    program = "from bench import cache\nwith cache.valkey():\n    raise SystemExit(3)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode == 3


def test_one_round_of_cold_starts_gives_a_whole_result_file(digits_prepared: Path, tmp_path: Path) -> None:
    model = manifest.read(digits_prepared / "digits")
    names = ("zeroserve-rie", "zeroserve-process", "ort-floor")
    found, files = cold.bench(model, names, ("binary", "jpeg"), runs=1)
    results.write(tmp_path / "cold_start.json", found)
    assert results.read(tmp_path / "cold_start.json") == found
    assert summary.cells(found) == {"binary": list(names), "jpeg": list(names[:2])}
    for payload, systems in summary.cells(found).items():
        for system in systems:
            total = results.p50(found, system, payload, "first_prediction_ms")
            assert total is not None
            assert sum(summary.phases(found, system, payload).values()) == pytest.approx(total, rel=0.05)
            assert 20 < (results.p50(found, system, payload, "peak_rss_mb") or 0) < 500
    assert [entry["to"] for entry in found["ratios"]] == ["ort-floor"]
    whole, own = (
        results.p50(found, "zeroserve-process", "binary", f"{kind}files_touched_mb") for kind in ("", "deployed_")
    )
    assert 20 < (own or 0) < (whole or 0) < 100
    assert any(path.name == "weights.bin" for path in files["binary"])
    assert any("function" in path.parts and path.name.startswith("app.") for path in files["binary"])
    ET.fromstring(summary.chart(found))
    assert "zeroserve-process" in summary.table(found)
    assert "weights.bin" in summary.files_table(found, files)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"errors": {"503": 2}, "p50_ms": 3.0}, ("not every one of 9 requests", "503")),
        ({"errors": {}, "p50_ms": None}, ("not every one of 9 requests",)),
    ],
)
def test_a_load_with_refusals_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], words: tuple[str, ...]
) -> None:
    program = tmp_path / "loadgen"
    program.write_text(f"#!/bin/sh\necho '{json.dumps({'requests': 9, **found})}'\n")
    program.chmod(0o755)
    monkeypatch.setattr("bench.loadgen.generator.build", lambda: program)
    payload = payloads.Payload("binary", "/x", {"content-type": "application/octet-stream"}, b"body", [])
    with pytest.raises(generator.LoadError) as error:
        generator.Generator(tmp_path).run("http://127.0.0.1:1", payload, 1, requests=9)
    for word in words:
        assert word in str(error.value)
