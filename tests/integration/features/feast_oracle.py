"""Feast's own answers, for test_feast.py: applies views, materialises rows into a store, and asks for them online.

Run in the environment of requirements/feast.txt:

python -m tests.integration.features.feast_oracle ORDER.json

The order is {"store": Feast's online_store, "folder": for the registry and the source, "entities": how many}; beside it
answers.json is written: [{"request": a body of POST /get-online-features, "answer": what Feast's server would say}].
"""

from __future__ import annotations

import json
import random
import struct
import sys
import uuid
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import feast
import pyarrow as pa
from feast.feature_server_utils import convert_response_to_dict
from feast.types import Array, Set
from pyarrow import parquet

from tests.integration.features import feast_views
from tests.integration.features.feast_views import ASKED, GAPS, PROJECT, STRANGERS, TTL_SECONDS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[random.Random], Any]

TYPES = {
    "bytes": (feast.types.Bytes, pa.binary()),
    "pdf": (feast.types.PdfBytes, pa.binary()),
    "picture": (feast.types.ImageBytes, pa.binary()),
    "string": (feast.types.String, pa.string()),
    "int32": (feast.types.Int32, pa.int32()),
    "int64": (feast.types.Int64, pa.int64()),
    "float64": (feast.types.Float64, pa.float64()),
    "float32": (feast.types.Float32, pa.float32()),
    "bool": (feast.types.Bool, pa.bool_()),
    "timestamp": (feast.types.UnixTimestamp, pa.timestamp("us", tz="UTC")),
    "json": (feast.types.Json, pa.string()),
    "uuid": (feast.types.Uuid, pa.string()),
    "time_uuid": (feast.types.TimeUuid, pa.string()),
    "decimal": (feast.types.Decimal, pa.string()),
}
VALUE_TYPES = {"BYTES": feast.ValueType.STRING, "INT64": feast.ValueType.INT64, "INT32": feast.ValueType.INT32}


def _float32(number: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded


def _made(kind: str, source: random.Random) -> Any:
    """A value of a kind; the extremes of each are among them."""
    makers: dict[str, Maker] = {
        "bytes": lambda r: r.randbytes(r.randrange(20)),
        "pdf": lambda r: r.randbytes(9),
        "picture": lambda r: r.randbytes(7),
        "string": lambda r: "".join(r.choice("aé€😀\x01'\"\\\r\n:{") for _ in range(r.randrange(12))),
        "int32": lambda r: r.choice([0, -1, -(2**31), 2**31 - 1, r.randrange(-(2**31), 2**31)]),
        # Feast makes FP64 of integers where some are null, and refuses what is not an INT64 after that.
        "int64": lambda r: r.choice([0, -1, -(2**63), 2**62, r.randrange(-(2**62), 2**62)]),
        "float64": lambda r: r.choice([0.0, 5e-324, -1.7976931348623157e308, r.gauss(0, 1e6)]),
        "float32": lambda r: _float32(r.choice([0.0, 1e-45, -3.4028234e38, r.gauss(0, 100)])),
        "bool": lambda r: r.random() < 0.5,
        "timestamp": lambda r: datetime(1969, 1, 1, tzinfo=UTC) + timedelta(seconds=r.randrange(3_000_000_000)),
        "json": lambda r: json.dumps({"é": r.randrange(9), "list": [None, "x"]}),
        "uuid": lambda r: str(uuid.UUID(bytes=r.randbytes(16), version=4)),
        "time_uuid": lambda r: str(uuid.UUID(bytes=r.randbytes(16), version=1)),
        "decimal": lambda r: str(Decimal(r.randrange(-(10**12), 10**12)).scaleb(-3)),
    }
    return makers[kind](source)


def _column(kind: str, count: int, source: random.Random) -> tuple[Any, pa.DataType, list[Any]]:
    """Feast's type, Arrow's, and the values, one in seven of which is null."""
    base, of = kind.removesuffix("_list").removesuffix("_set"), TYPES
    feast_type, arrow_type = of[base]
    make: Callable[[], Any] = lambda: _made(base, source)  # noqa: E731
    if kind != base:
        feast_type = (Array if kind.endswith("_list") else Set)(feast_type)
        arrow_type = pa.list_(arrow_type)
        make = lambda: [_made(base, source) for _ in range(source.randrange(1, 5))]  # noqa: E731
    return feast_type, arrow_type, [None if source.randrange(GAPS) == 0 else make() for _ in range(count)]


def _view(view: dict[str, Any], folder: Path, count: int, now: datetime) -> tuple[Any, Any, list[Any]]:
    """The view, the same with one feature more, which has never been written, and its entities."""
    source = random.Random(view["name"])
    keys = {name: [feast_views.key(datatype, index) for index in range(count)] for name, datatype in view["keys"]}
    times = [now - timedelta(microseconds=source.randrange(int(2e6 * TTL_SECONDS))) for _ in range(count)]
    arrays = {name: pa.array(values) for name, values in keys.items()}
    arrays["event_timestamp"] = pa.array(times, pa.timestamp("us", tz="UTC"))
    schema = []
    for name, kind in view["features"]:
        feast_type, arrow_type, values = _column(kind, count, source)
        arrays[name] = pa.array(values, arrow_type)
        schema.append(feast.Field(name=name, dtype=feast_type))
    path = folder / f"{view['name']}.parquet"
    parquet.write_table(pa.table(arrays), path)
    entities = [
        feast.Entity(name=name, join_keys=[name], value_type=VALUE_TYPES[datatype]) for name, datatype in view["keys"]
    ]
    common = {
        "name": view["name"],
        "entities": entities,
        "ttl": timedelta(seconds=TTL_SECONDS),
        "source": feast.FileSource(path=str(path), timestamp_field="event_timestamp"),
    }
    late = [feast.Field(name=view["late"], dtype=feast.types.Int64)]
    return feast.FeatureView(**common, schema=schema), feast.FeatureView(**common, schema=schema + late), entities


def main() -> None:
    """Writes the answers."""
    warnings.simplefilter("ignore")
    path = Path(sys.argv[1])
    order = json.loads(path.read_text())
    folder, count, now = Path(order["folder"]), order["entities"], datetime.now(UTC)
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project=PROJECT,
            provider="local",
            registry=str(folder / "registry.db"),
            online_store=order["store"],
            offline_store={"type": "file"},
            entity_key_serialization_version=3,
        )
    )
    views = [_view(view, folder, count, now) for view in VIEWS]
    entities = {entity.name: entity for _, _, of in views for entity in of}
    store.apply([*entities.values(), *(view for view, _, _ in views)])
    store.materialize(now - timedelta(days=30), now + timedelta(minutes=1))
    store.apply([late for _, late, _ in views])

    pick = random.Random(7)
    answers = []
    for view in VIEWS:
        known = pick.sample(range(count), min(count, ASKED))
        asked = known + [count + index for index in range(STRANGERS)]
        keys = {name: [feast_views.key(datatype, index) for index in asked] for name, datatype in view["keys"]}
        features = [f"{view['name']}:{name}" for name in [*(name for name, _ in view["features"]), view["late"]]]
        answers.append(_asked(store, {"entities": keys, "features": features}))
    if order["store"]["type"] == "redis":  # the one whose entities Feast can list, which it does for this
        first = VIEWS[0]
        aged = feast.FeatureService(name=feast_views.AGED, features=[views[0][0]], precompute_online=True)
        store.apply([aged])
        store.precompute_feature_service(feast_views.AGED)
        keys = {name: [feast_views.key(datatype, index) for index in known] for name, datatype in first["keys"]}
        body = {"entities": keys, "feature_service": feast_views.AGED, "full_feature_names": True}
        answers.append(_asked(store, body))
    path.with_name("answers.json").write_text(json.dumps(answers))


def _asked(store: feast.FeatureStore, body: dict[str, Any]) -> dict[str, Any]:
    service = body.get("feature_service")
    found = store.get_online_features(
        features=store.get_feature_service(service) if service else body["features"],
        entity_rows=[
            dict(zip(body["entities"], row, strict=True)) for row in zip(*body["entities"].values(), strict=True)
        ],
        full_feature_names=body.get("full_feature_names", False),
    )
    return {"request": body, "answer": convert_response_to_dict(found.proto)}


if __name__ == "__main__":
    main()
