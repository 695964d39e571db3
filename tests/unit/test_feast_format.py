"""Feast's formats at rest; the expected bytes are what Feast 0.67, its protobuf classes and mmh3 gave."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from function.features import feast_keys, feast_values, protobuf
from function.features.protobuf import ValueFormatError
from function.features.view import View


@pytest.mark.parametrize(
    ("data", "short", "long"),
    [
        (b"", 0, "00000000000000000000000000000000"),
        (b"a", 1009084850, "897859f6655555855a890e51483ab5e6"),
        (b"hello world", 1586663183, "0e617feb46603f53b163eb607d4697ab"),
        (b"x" * 33, 4243188946, "7df4d8cb220f3ab764103eeef17249eb"),
        (b"view:feature", 1985024383, "27b1c5f2b0e52f677aa5306b3f4cbd4f"),
    ],
)
def test_hashes_are_murmur3(data: bytes, short: int, long: str) -> None:
    assert feast_keys.murmur3_32(data) == short
    assert feast_keys.murmur3_128(data).hex() == long


def test_an_entity_key_sorts_its_join_keys() -> None:
    keys = [{"name": "b", "datatype": "INT64"}, {"name": "a", "datatype": "BYTES"}]
    key = View({"view": "v", "project": "p", "entity": keys, "columns": []}).entity_key({"b": 5, "a": "é"})
    expected = (
        "02000000"
        "020000000100000061" + "020000000100000062" + "0200000002000000c3a9" + "04000000080000000500000000000000"
    )
    assert key.hex() == expected


@pytest.mark.parametrize(
    ("kind", "value", "encoded"),
    [
        (feast_values.NULL, None, b"\x98\x01\x00"),
        (feast_values.INT64, -2, b"\x20\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        (feast_values.INT64, 0, b"\x20\x00"),
        (16, [1.0, 2.0], b"\x82\x01\x0a\x0a\x08\x00\x00\x80?\x00\x00\x00@"),
        (14, [], b"r\x00"),
    ],
)
def test_values_are_protobuf(kind: int, value: feast_values.Value, encoded: bytes) -> None:
    assert feast_values.encode(kind, value) == encoded
    assert feast_values.decode(encoded) == (kind, value)


SCALARS: dict[int, st.SearchStrategy[Any]] = {
    feast_values.BYTES: st.binary(),
    feast_values.STRING: st.text(st.characters(codec="utf-8")),
    feast_values.INT32: st.integers(-(2**31), 2**31 - 1),
    feast_values.INT64: st.integers(-(2**63), 2**63 - 1),
    feast_values.DOUBLE: st.floats(allow_nan=False),
    feast_values.FLOAT: st.floats(allow_nan=False, width=32),
    feast_values.BOOL: st.booleans(),
    feast_values.TIMESTAMP: st.integers(0, 2**40),
}


@pytest.mark.parametrize("kind", SCALARS)
@given(data=st.data())
def test_what_is_written_is_read_again(kind: int, data: st.DataObject) -> None:
    value = data.draw(SCALARS[kind])
    values = data.draw(st.lists(SCALARS[kind]))
    assert feast_values.decode(feast_values.encode(kind, value)) == (kind, value)
    assert feast_values.decode(feast_values.encode(kind + 10, values)) == (kind + 10, values)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        feast_values.decode(data)
        feast_values.timestamp(data)
    except ValueFormatError:
        pass


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b'\x82\x02\x07{"a":1}', '{"a":1}'),  # JSON
        (b"\xa2\x02\x01u", "u"),  # a UUID
        (b"\xaa\x02\x01t", "t"),  # one with a time
        (b"\xe2\x02\x031.5", "1.5"),  # a decimal
        (b"\xea\x02\x06\n\x011\n\x012", ["1", "2"]),  # a list of those
        (b"\xc2\x01\r\n\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x07", [-1, 7]),  # a set of INT32
        (b"\xb2\x01\x03\n\x01a", [b"a"]),  # of bytes
        (b"\xea\x01\x03\n\x01\t", [9]),  # of times
        (b"\xc2\x02\x03\n\x01u", ["u"]),  # of UUIDs
    ],
)
def test_texts_and_sets_of_types_of_their_own(encoded: bytes, value: feast_values.Value) -> None:
    assert feast_values.decode(encoded)[1] == value


def test_a_map_is_refused() -> None:
    with pytest.raises(ValueFormatError, match="has type 20"):
        feast_values.decode(b"\xa2\x01\t\n\x07\n\x01a\x12\x02\x18\x01")


def test_a_cut_value_is_refused() -> None:
    whole = feast_values.encode(feast_values.STRING, "cut me")
    for size in range(1, len(whole)):
        with pytest.raises(ValueFormatError, match="cut short"):
            feast_values.decode(whole[:size])


@given(st.integers(0, 2**33 * 10**6))
def test_timestamps_keep_microseconds(micros: int) -> None:
    read = feast_values.timestamp(feast_values.encoded_timestamp(micros / 1e6))
    assert math.isclose(read, micros / 1e6, abs_tol=1e-6)


@pytest.mark.parametrize("seconds", [-62135596801, 253402300800, 2**62])
def test_a_time_that_no_calendar_has_is_refused(seconds: int) -> None:
    with pytest.raises(ValueFormatError, match="years 1 to 9999"):
        feast_values.timestamp(feast_values.encoded_timestamp(0) + b"\x08" + protobuf.varint(seconds))
