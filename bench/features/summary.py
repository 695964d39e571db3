"""The result file of entity features as a reader sees it in the terminal."""

from __future__ import annotations

from typing import Any

from bench import results
from bench.cold import summary as cold_summary
from bench.cold.systems import RIE
from bench.features import beside_feast, cold, hits, tiers
from bench.features.beside_feast import FEAST, IMPORT
from bench.features.setup import P50, P99, THROUGHPUT
from bench.servers import OURS


def table(document: dict[str, Any]) -> str:
    """All that was measured, and the ratios."""

    def p50(system: str, payload: str, metric: str) -> str:
        value = results.p50(document, system, payload, metric)
        return "-" if value is None else f"{value:.2f}"

    lines = [f"\n{document['machine'].get('clients')} clients; medians of the rounds"]
    for payload in (*beside_feast.PAYLOADS, *tiers.PAYLOADS):
        for system in (FEAST, OURS):
            if results.find(document, system, payload, THROUGHPUT):
                figures = (p50(system, payload, metric) for metric in (THROUGHPUT, P50, P99))
                lines.append(f"  {payload:<20}{system:<16}" + "{:>9}/s  p50 {:>7} p99 {:>7} ms".format(*figures))
    lines.append("\none request at a time, ms")
    for payload in tiers.PAYLOADS:
        figures = (p50(tiers.PROCESS, payload, metric) for metric in (tiers.LOOKUP, tiers.INFER, tiers.REQUEST))
        lines.append(f"  {payload:<20}" + "lookup {:>6}, inference {:>6}, request {:>6}".format(*figures))
    lines += [
        f"  {system:<16}import {p50(system, IMPORT, 'import_ms')} ms, {p50(system, IMPORT, 'import_rss_mb')} MB; "
        f"idle {p50(system, 'features-1', 'idle_rss_mb')} MB"
        for system in (FEAST, OURS)
    ]
    lines += [f"  {payload:<10}{size:>3} MB: {share:>5.1f} % hits" for payload, size, share in hits.points(document)]
    for payload in cold.PAYLOADS:
        made_of = ", ".join(f"{name} {ms:.1f}" for name, ms in cold_summary.phases(document, RIE, payload).items())
        lines.append(f"  {payload:<12}{p50(RIE, payload, cold_summary.FIRST)} ms: {made_of}")
    lines.append("\nratios (medians of each round's)")
    lines += [
        f"  {each['metric']}: {each['of']} {each['payload']} / {each['to']}: {each['value']:.3f}"
        for each in document["ratios"]
    ]
    return "\n".join(lines)
