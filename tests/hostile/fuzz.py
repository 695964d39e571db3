"""A mutating fuzzer through both entries at once.

    python -m tests.hostile.fuzz --seed 1 --cases 500000 --seconds 3600 [--cache]
    python -m tests.hostile.fuzz --replay .cache/hostile/fuzz-1-4711.json

The same request goes to the Lambda handler and to the server. Every status is below 500, or a 503; every error is
{"error": text}; the entries agree; none takes longer than a second; memory, descriptors and threads do not grow after
the warm-up. Ends with 1 when one of these does not hold; each finding is written down with the command that replays it.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.hostile import checks, entries, mutate, server_process
from tests.hostile.checks import Finding
from tests.hostile.drift import Drift
from tests.hostile.seeds import Sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SAMPLE_EVERY = 500  # cases between two looks at the processes
EVENTS = 0.05  # share of cases that are events for the handler alone
SLOW_SECONDS = 1.0  # on a machine of one's own


@dataclass
class Run:
    """What one run has seen."""

    seed: int
    cache: bool
    statuses: Counter[int] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    cases: int = 0
    seconds: float = 0.0

    def note(self, finding: Finding, number: int, case: object) -> None:
        """Keeps the first of each kind of finding, as a file that replays it."""
        if finding.kind in self.findings:
            return
        self.findings[finding.kind] = finding
        server_process.CACHE.mkdir(parents=True, exist_ok=True)
        path = server_process.CACHE / f"fuzz-{self.seed}-{number}.json"
        content = {"kind": finding.kind, "text": finding.text, "cache": self.cache, "case": _written(case)}
        path.write_text(json.dumps(content, indent=1))
        self.files.append(path)
        print(f"\nfinding: {finding.kind}\n{finding.text}\n  python -m tests.hostile.fuzz --replay {path}", flush=True)

    @property
    def rate(self) -> float:
        return self.cases / self.seconds if self.seconds else 0.0


class Pair:
    """Both entries, running."""

    def __init__(self, function: entries.LambdaEntry, server: server_process.ServerProcess, slow: float) -> None:
        self.function, self.server, self.slow = function, server, slow
        self.http = entries.HttpEntry(server.port)

    def ask(self, case: object) -> tuple[list[Finding], int]:
        """What is wrong with the answers to one case, and Lambda's status; an event goes to the handler alone."""
        found, status, seconds = self._timed(case)
        if seconds > self.slow and not found:
            found, status, seconds = self._timed(case)  # once more: was it the machine?
            if seconds > self.slow:
                found.append(Finding(f"slow: {checks.name_of(case)}", f"{seconds:.1f} s, twice: {checks.shown(case)}"))
        return found, status

    def _timed(self, case: object) -> tuple[list[Finding], int, float]:
        started = time.monotonic()
        self.function.send(entries.function_url_event(case) if isinstance(case, Sent) else case)
        if not isinstance(case, Sent):
            found, status = checks.of_event(self.function.receive, case)
            return found, status, time.monotonic() - started
        self.http.send(case)
        found, first = checks.of_answer("lambda", lambda: entries.lambda_answer(self.function.receive()), case)
        more, second = checks.of_answer("server", self.http.receive, case)
        seconds = time.monotonic() - started
        found += more
        if first and second and not found:
            found += checks.compared(case, first, second)
        return found, first.status if first else 0, seconds

    def usages(self) -> dict[str, server_process.Usage]:
        return {"lambda": self.function.usage(), "server": self.server.usage()}


@contextmanager
def both(*, cache: bool, slow: float = SLOW_SECONDS) -> Iterator[Pair]:
    """The two entries over the same settings; an answer that takes more than `slow` seconds is a finding."""
    with entries.empty_s3() as s3:
        settings = entries.settings_of_both(s3, cache=cache)
        with server_process.serve(settings) as server:
            function = entries.LambdaEntry(settings)
            pair = Pair(function, server, slow)
            try:
                yield pair
            finally:
                pair.http.close()
                function.close()


def case_of(seed: int, number: int) -> Any:
    """The case with this number: a Sent for both entries, or an event for the handler."""
    generator = random.Random(f"{seed}-{number}")
    return mutate.event(generator) if generator.random() < EVENTS else mutate.request(generator)


def run(
    seed: int, cases: int, seconds: float, *, cache: bool, warm_up: int, growth: float, most: int, slow: float
) -> Run:
    """Up to `cases` cases in up to `seconds`. `growth` is the share by which memory may grow after `warm_up`
    cases; `most` findings end the run; `slow` as for `both`.
    """
    seen = Run(seed, cache)
    with both(cache=cache, slow=slow) as pair:
        drift = Drift(warm_up, growth)
        started = last = time.monotonic()
        while seen.cases < cases and seen.seconds < seconds and len(seen.findings) < most:
            case = case_of(seed, seen.cases)
            try:
                found, status = pair.ask(case)
            except (AssertionError, OSError) as error:  # an entry hangs or has died: nothing more can be asked
                seen.note(Finding("dead or hanging", str(error)), seen.cases, case)
                break
            for finding in found:
                seen.note(finding, seen.cases, case)
            seen.statuses[status] += 1
            seen.cases += 1
            now = time.monotonic()
            seen.seconds = now - started
            if seen.cases % SAMPLE_EVERY == 0:
                drift.sample(seen.cases, pair.usages())
            if now - last > 5:
                last = now
                print(_progress(seen, drift), flush=True)
        for finding in drift.findings(pair.usages):
            seen.note(finding, seen.cases, None)
    print(f"in {seen.seconds:.0f} s: {_progress(seen, drift)}")
    return seen


def replay(path: Path) -> list[Finding]:
    """The findings of a written case, asked again of fresh processes."""
    content = json.loads(path.read_text())
    if content["case"] is None:
        raise SystemExit("memory, descriptors or threads grew over the whole run: repeat it with its seed")
    case = content["case"]
    if "target" in case:
        case = Sent(case["method"], case["target"], case["headers"], base64.b64decode(case["body"]))
    else:
        case = case["event"]
    with both(cache=content["cache"]) as pair:
        return pair.ask(case)[0]


def _progress(seen: Run, drift: Drift) -> str:
    return f"{seen.cases} cases, {seen.rate:.0f} a second; {drift.shown()}; {_shares(seen.statuses)}"


def _written(case: object) -> object:
    if isinstance(case, Sent):
        body = base64.b64encode(case.body).decode()
        return {"method": case.method, "target": case.target, "headers": dict(case.headers), "body": body}
    return None if case is None else {"event": case}


def _shares(statuses: Counter[int]) -> str:
    return ", ".join(
        f"{status or 'direct'}: {100 * count / statuses.total():.1f} %" for status, count in statuses.most_common()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    from pathlib import Path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--cases", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--cache", action="store_true", help="with the result cache on")
    parser.add_argument("--warm-up", type=int, default=10_000, help="cases after which memory may not grow")
    parser.add_argument("--growth", type=float, default=0.02, help="share by which it may")
    parser.add_argument("--most", type=int, default=25, help="different findings, after which the run ends")
    parser.add_argument("--slow", type=float, default=SLOW_SECONDS, help="seconds that no answer may take")
    parser.add_argument("--replay", type=Path, help="a file that a run has written")
    given = parser.parse_args(arguments)
    sys.setrecursionlimit(20_000)  # some events are deep
    if given.replay:
        findings = replay(given.replay)
        for finding in findings:
            print(f"{finding.kind}\n{finding.text}")
        print("it still fails" if findings else "nothing is wrong with it")
        return bool(findings)
    print(f"seed {given.seed}, result cache {'on' if given.cache else 'off'}", flush=True)
    limits = {"warm_up": given.warm_up, "growth": given.growth, "most": given.most, "slow": given.slow}
    seen = run(given.seed, given.cases, given.seconds, cache=given.cache, **limits)
    print(f"{len(seen.findings)} findings: {'; '.join(seen.findings) or 'none'}")
    return bool(seen.findings)


if __name__ == "__main__":
    sys.exit(main())
