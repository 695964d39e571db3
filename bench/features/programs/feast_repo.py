"""Makes a Feast repository in the working directory, as `feast init` and `feast apply` would; run by Feast's Python.

Arguments: the Redis server's HOST:PORT, the project, the view, its join key, and the names of its columns, FP32 all.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float32
from pyarrow import parquet

redis, project, name, key, *columns = sys.argv[1:]
# The settings are those that Feast's guide to tuning the online server names for low latency.
Path("feature_store.yaml").write_text(f"""
project: {project}
provider: local
registry: {{registry_type: file, path: registry.db, cache_ttl_seconds: 300, cache_mode: thread}}
online_store: {{type: redis, connection_string: "{redis}"}}
offline_store: {{type: file}}
entity_key_serialization_version: 3
""")
# Feast asks for a source and looks at its columns; what is served lies in Redis already.
row = {key: ["nobody"], "event_timestamp": [datetime.now(UTC)], **{column: [0.0] for column in columns}}
parquet.write_table(pa.table(row), "source.parquet")
entity = Entity(name=key, join_keys=[key], value_type=ValueType.STRING)
view = FeatureView(
    name=name,
    entities=[entity],
    ttl=timedelta(0),
    schema=[Field(name=column, dtype=Float32) for column in columns],
    source=FileSource(path="source.parquet", timestamp_field="event_timestamp"),
)
FeatureStore(".").apply([entity, view])
