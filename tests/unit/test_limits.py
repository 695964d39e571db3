"""The memory rule, the budget that requests share, and what JSON takes of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from function import limits
from function.codecs import json_body
from function.concurrency import Budget
from function.errors import PredictError
from function.limits import LIMITS, MIB, Limits
from function.native.json_kernel import Kernel
from function.native.json_plain import PlainReader
from function.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def configured(workers: int = 2, **variables: str) -> Limits:
    found = Limits()
    found.configure(Settings(variables), workers)
    return found


@pytest.fixture
def small() -> Iterator[None]:
    """32 MiB for work."""
    LIMITS.configure(Settings({"MEMORY_LIMIT_BYTES": str(32 * MIB // 3 * 8 + 8)}))
    yield
    LIMITS.__init__()  # type: ignore[misc]  # the one of this process, as it was


@pytest.mark.parametrize(
    ("memory", "workers", "body", "bodies", "work"),
    [(512, 2, 32, 64, 192), (1024, 2, 64, 128, 384), (1024, 8, 16, 128, 384), (65536, 2, 64, 256, 1024)],
)
def test_the_rule(memory: int, workers: int, body: int, bodies: int, work: int) -> None:
    found = configured(workers, MEMORY_LIMIT_BYTES=str(memory * MIB))
    assert (found.memory, found.largest_body) == (memory * MIB, body * MIB)
    assert (found.bodies, found.work) == (bodies * MIB, work * MIB)


@pytest.mark.parametrize(("memory", "workers"), [(256, 1), (512, 2), (1024, 8), (2048, 2), (65536, 16)])
def test_the_rule_adds_up(memory: int, workers: int) -> None:
    """Bodies, their copies and all work leave a quarter for the process itself, below the 7/8 that it may have."""
    found = configured(workers, MEMORY_LIMIT_BYTES=str(memory * MIB))
    counted = found.budget.capacity + (workers - 1) * found.share
    assert counted <= found.work
    assert found.bodies + found.copies.capacity + found.work + memory * MIB // 4 <= memory * MIB // 8 * 7
    assert found.largest_body <= found.turns < found.bodies
    assert 2 * found.largest_body <= found.copies.capacity


def test_copies_of_a_body_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAIT_S", 0.01)
    found = configured(MEMORY_LIMIT_BYTES=str(512 * MIB))
    with found.hold_copies(32 * MIB), pytest.raises(PredictError, match="this body waited") as caught:
        found.hold_copies(MIB)
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"] == "1"
    with found.hold_copies(32 * MIB):
        pass


def test_a_body_limit_that_is_set_is_kept() -> None:
    found = configured(MEMORY_LIMIT_BYTES=str(512 * MIB), MAX_BODY_BYTES=str(100 * MIB))
    assert (found.largest_body, found.bodies) == (100 * MIB, 100 * MIB)


def test_on_lambda_the_memory_is_lambdas_figure() -> None:
    assert configured(AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512").memory == 512 * MIB


def test_the_cgroups_limit_counts_where_it_is_lower(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cgroup")
    (folder / "v2").write_text("max\n")
    (folder / "v1").write_text(f"{300 * MIB}\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "_cgroup_files", lambda: [str(folder / name) for name in ("absent", "v2", "v1")])
        assert configured().memory == 300 * MIB
        patched.setattr(limits, "_cgroup_files", lambda: [str(folder / "v2")])
        assert configured().memory > 300 * MIB


def test_the_cgroups_above_count_too(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("4:cpu:/x\n3:memory:/a/b\n0::/system.slice/it.service\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "_CGROUPS", str(tmp_path / "cgroup"))
        found = limits._cgroup_files()
    assert "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes" in found
    assert "/sys/fs/cgroup/memory/a/memory.limit_in_bytes" in found
    assert "/sys/fs/cgroup/system.slice/it.service/memory.max" in found
    assert "/sys/fs/cgroup/system.slice/memory.max" in found


def test_who_asks_first_is_served_first_and_nobody_starves() -> None:
    budget = Budget(10)
    assert budget.take(6, 1)
    order: list[str] = []
    asked = threading.Event()

    def large() -> None:
        asked.set()
        assert budget.take(10, 30)
        order.append("large")
        budget.give_back(10)

    def small_one() -> None:
        assert budget.take(1, 30)
        order.append("small")
        budget.give_back(1)

    first = threading.Thread(target=large)
    first.start()
    asked.wait(10)
    while not budget._waiting:
        pass
    second = threading.Thread(target=small_one)
    second.start()
    while len(budget._waiting) < 2:
        pass
    assert order == []  # 4 are free, but the large request was there before
    budget.give_back(6)
    first.join(10)
    second.join(10)
    assert order == ["large", "small"]


def test_what_does_not_come_free_in_time_is_told() -> None:
    budget = Budget(1)
    assert budget.take(1, 1)
    assert not budget.take(1, 0.01)
    budget.give_back(1)
    assert budget.take(1, 1)


def test_json_that_never_fits_is_refused_before_it_is_parsed(small: None) -> None:
    body = b'{"inputs":[' + b"null," * (2 * MIB) + b"0]}"
    with pytest.raises(PredictError) as caught:
        json_body.parse(body)
    assert caught.value.status == 413
    assert "this JSON would take 64 MiB of memory, and 32 MiB are there for it" in caught.value.message


def test_numbers_take_less(small: None) -> None:
    """12 bytes each, where they are arrays of numbers alone: they become a tensor at once."""
    json_body.parse(b'{"inputs":[' + b"0," * (2 * MIB) + b"0]}")
    with pytest.raises(PredictError, match="this JSON would take 36 MiB of memory, and 32 MiB are there for it"):
        json_body.parse(b'{"inputs":[' + b"0," * (3 * MIB) + b"0]}")


def test_json_gives_its_share_back(small: None) -> None:
    body = b'{"inputs":[' + b"null," * MIB + b"0]}"  # 32 MiB less a few: one at a time
    for _ in range(3):
        json_body.parse(b'{"a":[' + b"null," * (MIB - 10) + b"0]}")
    with pytest.raises(PredictError, match="would take 32 MiB"):
        json_body.parse(body)
    for _ in range(3):
        with pytest.raises(PredictError, match="is not JSON"):
            json_body.parse(b'{"a":[' + b"null," * (MIB - 10) + b"0")
    assert LIMITS.budget.take(LIMITS.work, 0.1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=40,
)


@given(JSON)
def test_the_values_of_a_text_are_no_more_than_is_counted(value: object) -> None:
    import json

    text = memoryview(json.dumps({"a": value}, separators=(",", ":")).encode())
    for reader in (Kernel(), PlainReader()):
        count = reader.count(text)
        assert count >= len(reader.read(text, count, 0))  # TooManyValuesError otherwise
