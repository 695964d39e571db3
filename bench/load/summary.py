"""The load result file as tables in the terminal."""

from __future__ import annotations

from typing import Any

from bench.load.tally import LATENCY, PUBLISHED, STEADY, THROUGHPUT


def table(document: dict[str, Any]) -> str:
    """Throughput and latencies by method, the generator's share of the machine, and the ratios."""
    found = {(row["system"], row["payload"], row["metric"]): row for row in document["rows"]}
    about = document["machine"]
    titles = {
        PUBLISHED: f"published method: {about['clients']} clients, {about['published_requests']} requests",
        STEADY: f"steady run: {about['clients']} clients, {about['steady_seconds']:g} s",
    }
    lines = []
    for method, title in titles.items():
        lines.append(f"\n{title}; medians of {document['runs']} rounds")
        for system, payload, metric in found:
            if metric != method + THROUGHPUT:
                continue
            speed = found[system, payload, metric]["p50"]
            latency = found[system, payload, method + LATENCY]
            quantiles = " ".join(f"{name} {latency[name]:>7.1f}" for name in ("p50", "p90", "p99"))
            line = f"  {system:<16}{payload:<13}{speed:>7.1f}/s  {quantiles} ms"
            if cpu := found.get((system, payload, method + "generator_cpu_per_request_ms")):
                share = cpu["p50"] / 1000 * speed / about["cores"]
                own = found[system, payload, method + "server_cpu_per_request_ms"]["p50"]
                line += f"  CPU {own:.1f} ms a request, generator {share:.1%} of {about['cores']} cores"
            lines.append(line)
    lines.append("\nratios (medians of each round's)")
    for entry in document["ratios"]:
        to = f"{entry['to']} {entry.get('to_payload', entry['payload'])}"
        lines.append(f"  {entry['metric']}: {entry['of']} {entry['payload']} / {to}: {entry['value']:.2f}")
    lines.append(f"\nidle servers took at most {about['idle_servers_share_of_a_core']:.1%} of a core")
    if peer := document["versions"].get("goserve-peer"):
        lines.append(f"goserve-peer: {peer}")
    return "\n".join(lines)
