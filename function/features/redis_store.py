"""Feature rows in Redis or Valkey as Feast materialises them: a hash for each entity, a field for each feature.

Layout: feast.infra.online_stores.redis of Feast 0.67. One pipeline of HMGET for a whole batch.
"""

from __future__ import annotations

from function.cache.resp import Connection
from function.features import feast_values
from function.features.pool import Pool
from function.features.protobuf import ValueFormatError
from function.features.view import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from urllib.parse import SplitResult

    from function.features.view import View

_TEXT = frozenset((bytes, type(None)))  # types of the replies for a hash's fields


class RedisStore:
    """Kept connections to one server; any number of threads may read and write at once."""

    def __init__(self, url: SplitResult, timeout: float) -> None:
        """`url` and `timeout` as for Connection. Nothing is connected yet."""
        self._pool = Pool(lambda: Connection(url, timeout), (OSError,))

    UNKNOWN = "PRESENT"  # with null: what Feast says of an entity that is not there

    def connect(self) -> None:
        """Opens the connection that the first read will use; raises as `read` does."""
        self._pool.use(lambda connection: connection.command("PING"))

    def read(self, wanted: Sequence[tuple[View, bytes]]) -> list[Row]:
        """The row of each (view, entity key); nulls alone for an unknown entity.

        OSError or RespError.
        """
        commands = [("HMGET", key + view.project.encode(), *view.redis_fields) for view, key in wanted]
        replies = self._pool.use(lambda connection: connection.pipeline(commands))
        return [_row(view, reply) for (view, _), reply in zip(wanted, replies, strict=True)]

    def write(self, rows: Sequence[tuple[View, bytes, Row]]) -> None:
        """Stores the rows as Feast's writer does; raises as `read` does."""
        commands = []
        for view, key, row in rows:
            words: list[str | bytes] = ["HSET", key + view.project.encode()]
            for column, field in zip(view.columns, view.redis_fields, strict=False):
                if column.name in row.values:
                    words += (field, feast_values.encode(column.kind, row.values[column.name]))
            words += (view.redis_fields[-1], feast_values.encoded_timestamp(row.event_time))
            commands.append(words)
        self._pool.use(lambda connection: connection.pipeline(commands))

    def close(self) -> None:
        self._pool.close()


def _row(view: View, reply: object) -> Row:
    """Feast's own reader takes an absent field for a null."""
    if not isinstance(reply, list) or len(reply) != len(view.redis_fields) or not _TEXT.issuperset(map(type, reply)):
        raise ConnectionError("Redis answered HMGET with something else than the fields' values")
    values = {column.name: value for column, value in zip(view.columns, reply, strict=False)}
    try:
        when = feast_values.timestamp(reply[-1]) if reply[-1] else 0.0
    except ValueFormatError:
        when = 0.0
    return Row.stored(when, values)
