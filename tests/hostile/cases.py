"""The table of HTTP cases: bytes in, statuses out, what becomes of the connection."""

from __future__ import annotations

from tests.hostile.cases_framing import FRAMING
from tests.hostile.cases_heads import HEADS
from tests.hostile.cases_life import LIFE

CASES = (*FRAMING, *HEADS, *LIFE)
