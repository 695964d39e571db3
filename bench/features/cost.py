"""What a million scores cost on AWS with the features in each tier: list prices, a formula, and what was measured.

    a million scores = Lambda's requests + duration + the store's reads + the store's standing cost / millions a month
    duration         = billed ms x GB x price of a GB-second; a request here, and the network's way, rounded up to 1 ms

Prices of US East (N. Virginia) in US dollars: Lambda's as in docs/operations.md, "Cost"; the stores' as quoted in 2025
or 2026 by usage.ai (ElastiCache serverless), airbyte.com (DynamoDB) and infratally.com (RDS). Check them at
aws.amazon.com/elasticache/pricing, aws.amazon.com/dynamodb/pricing/on-demand and aws.amazon.com/rds/postgresql/pricing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import results
from bench.features import tiers

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUESTS_MILLION, GB_SECOND, GB = 0.20, 0.0000166667, 1769 / 1024  # one vCPU
HOURS = 730  # of a month
ECPU_MILLION, VALKEY_GB_HOUR, VALKEY_LEAST_GB = 0.0023, 0.084, 0.1  # ElastiCache serverless for Valkey
READ_MILLION, DYNAMODB_GB_MONTH = 0.125, 0.25  # on demand; a read that is eventually consistent counts half
RDS_HOUR, RDS_GB_MONTH, RDS_GB = 0.016, 0.115, 20  # db.t4g.micro in one zone, gp3

CARDS = 100_000
VPC_MS = 0.5  # assumed: a round trip within a VPC, where this machine has loopback
DYNAMODB_MS = 4.0  # assumed for all of a lookup: Feast's guide to tuning has 2 to 5 ms
MILLIONS = (1, 10, 100)  # scores a month
PARTS = ("Lambda's requests", "Lambda's duration", "the store's reads", "the store, standing")


@dataclass(frozen=True)
class Cost:
    """US dollars for a million scores, by PARTS; `milliseconds` are billed for each."""

    tier: str
    milliseconds: int
    parts: Sequence[float]

    @property
    def total(self) -> float:
        return sum(self.parts)


def costs(document: dict[str, Any], millions: float) -> list[Cost]:
    """Of each tier, for so many million scores a month; of those whose request was measured."""
    card_gb = document["machine"].get("redis_bytes_of_a_card", 0) * CARDS / 1e9
    memory = results.p50(document, tiers.PROCESS, tiers.MEMORY, tiers.REQUEST)
    redis = results.p50(document, tiers.PROCESS, tiers.REDIS, tiers.REQUEST)
    database = results.p50(document, tiers.PROCESS, tiers.DATABASE, tiers.REQUEST)
    if memory is None or redis is None or database is None:
        return []
    fields = 28  # an ECPU for each at most
    standing = {
        "Valkey": VALKEY_GB_HOUR * HOURS * max(VALKEY_LEAST_GB, card_gb),
        "DynamoDB": DYNAMODB_GB_MONTH * card_gb,
        "PostgreSQL": RDS_HOUR * HOURS + RDS_GB_MONTH * RDS_GB,
    }
    rows = (
        ("memory, of a file beside the model", memory, 0.0, 0.0),
        ("Valkey", redis + VPC_MS, ECPU_MILLION * fields, standing["Valkey"]),
        ("DynamoDB", memory + DYNAMODB_MS, READ_MILLION / 2, standing["DynamoDB"]),
        ("PostgreSQL", database + 2 * VPC_MS, 0.0, standing["PostgreSQL"]),  # two round trips: parse, then run
    )
    found = []
    for tier, milliseconds, reads, month in rows:
        billed = math.ceil(milliseconds)
        duration = billed * 1000 * GB * GB_SECOND  # a million of them
        found.append(Cost(tier, billed, (REQUESTS_MILLION, duration, reads, month / millions)))
    return found
