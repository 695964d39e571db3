"""Feature rows in PostgreSQL: a table in Feast's layout, or a query of the model's own.

Layout: feast.infra.online_stores.postgres_online_store of Feast 0.67. One query to a view for a whole batch. The driver
is pg8000: pure Python, 57 ms to import where psycopg takes 250.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote

import pg8000.native

from function.errors import PredictError
from function.features import feast_values
from function.features.pool import Pool
from function.features.view import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any
    from urllib.parse import SplitResult

    from function.features.view import View

# libpq's; "require" with a file of authorities checks the certificate, as there.
_MODES = {"disable": False, "prefer": None, "require": True, "verify-ca": True, "verify-full": True}
_TIMESTAMP = "event_timestamp"  # the column of a model's own query that says when the row was observed


class PostgresStore:
    """Kept connections to one database; any number of threads may read and write at once."""

    def __init__(self, url: SplitResult, timeout: float) -> None:
        """`url`: postgresql://user[:password]@host[:port]/database[?sslmode=MODE[&sslrootcert=FILE]], modes as libpq's.

        `timeout` in seconds. Connects later. PredictError (UNAVAILABLE) for a mode or file that is not there.
        """
        self._url, self._timeout = url, timeout
        asked = dict(parse_qsl(url.query))
        self._mode, self._authorities = asked.get("sslmode", "prefer"), asked.get("sslrootcert", "")
        if self._mode not in _MODES:
            message = f"a PostgreSQL URL says sslmode={self._mode[:20]!r}; {', '.join(_MODES)} are known"
            raise PredictError("UNAVAILABLE", message)
        if self._authorities and not os.path.isfile(self._authorities):
            raise PredictError(
                "UNAVAILABLE", f"a PostgreSQL URL says sslrootcert={self._authorities}, which is no file"
            )
        self._tls: Any = _MODES[self._mode]
        self._pool = Pool(self._connect, (OSError, pg8000.native.InterfaceError))

    def connect(self) -> None:
        """Opens the connection that the first read will use; raises as `read` does."""
        self._run("SELECT 1")

    def read(self, wanted: Sequence[tuple[View, bytes]]) -> list[Row | None]:
        """The row of each (view, entity key), None where there is none.

        OSError or pg8000's errors.
        """
        found: dict[tuple[str, bytes], Row] = {}
        for view in {view.name: view for view, _ in wanted}.values():
            keys = list(dict.fromkeys(key for each, key in wanted if each.name == view.name))
            rows = self._own_query(view, keys) if view.query else self._feast_table(view, keys)
            found.update(((view.name, key), row) for key, row in rows.items())
        return [found.get((view.name, key)) for view, key in wanted]

    def write(self, rows: Sequence[tuple[View, bytes, Row]]) -> None:
        """Stores the rows as Feast does; PredictError (INVALID_ARGUMENT) for a view with a query of its own."""
        for view in {view.name: view for view, _, _ in rows}.values():
            if view.query:
                raise PredictError("INVALID_ARGUMENT", f"view {view.name!r} reads a query of its own: write its tables")
            cells: dict[tuple[bytes, str], tuple[bytes, datetime]] = {}  # of two rows of an entity the last one counts
            for each, key, row in rows:
                when = datetime.fromtimestamp(row.event_time, UTC)
                for column in view.columns if each.name == view.name else ():
                    if column.name in row.values:
                        value = feast_values.encode(column.kind, row.values[column.name])
                        cells[key, column.name] = (value, when)
            self._run(
                f"INSERT INTO {_table(view)} (entity_key, feature_name, value, event_ts) "  # noqa: S608  (quoted)
                "SELECT * FROM unnest(CAST(:keys AS bytea[]), CAST(:names AS text[]), CAST(:cells AS bytea[]), "
                "CAST(:times AS timestamptz[])) ON CONFLICT (entity_key, feature_name) "
                "DO UPDATE SET value = EXCLUDED.value, event_ts = EXCLUDED.event_ts",
                keys=[key for key, _ in cells],
                names=[name for _, name in cells],
                cells=[value for value, _ in cells.values()],
                times=[when for _, when in cells.values()],
            )

    def _feast_table(self, view: View, keys: list[bytes]) -> dict[bytes, Row]:
        statement = (
            f"SELECT entity_key, feature_name, value, event_ts FROM {_table(view)} "  # noqa: S608  (quoted)
            "WHERE entity_key = ANY(:keys) AND feature_name = ANY(:names)"
        )
        values: dict[bytes, dict[str, bytes | None]] = {}
        times: dict[bytes, float] = {}
        for key, name, value, when in self._run(statement, keys=keys, names=[each.name for each in view.columns]):
            values.setdefault(key, {})[name] = value
            times[key] = when.timestamp() if when else 0.0
        return {key: Row.stored(times[key], row) for key, row in values.items()}

    def _own_query(self, view: View, keys: list[bytes]) -> dict[bytes, Row]:
        """The query has `:keys`, and gives columns by the names of the join key, the features and event_timestamp."""
        (name,) = view.keys
        plain = {key: _plain(view, name, key) for key in keys}
        asked = [value for value in plain.values() if not isinstance(value, str) or "\0" not in value]
        rows: dict[bytes, Row] = {}
        found, columns = self._run_named(view.query, keys=asked)
        for row in found:
            values = dict(zip(columns, row, strict=True))
            when = values.pop(_TIMESTAMP, None)
            key = view.entity_key(values)
            rows[key] = Row(when.timestamp() if when else time.time(), values)
        return rows

    def _run(self, statement: str, **parameters: Any) -> list[Any]:
        return self._run_named(statement, **parameters)[0]

    def _run_named(self, statement: str, **parameters: Any) -> tuple[list[Any], list[str]]:
        def run(connection: pg8000.native.Connection) -> tuple[list[Any], list[str]]:
            rows = connection.run(statement, **parameters) or []
            return rows, [column["name"] for column in connection.columns or []]

        result: tuple[list[Any], list[str]] = self._pool.use(run)
        return result

    def _connect(self) -> pg8000.native.Connection:
        url = self._url
        return pg8000.native.Connection(
            unquote(url.username or ""),
            host=url.hostname or "localhost",
            port=url.port or 5432,
            database=url.path.strip("/") or None,
            password=unquote(url.password) if url.password else None,
            timeout=self._timeout,
            ssl_context=self._context(),
        )

    def _context(self) -> Any:
        """What pg8000 takes: False for no TLS, None for what the server has, True without checks, or a context."""
        if self._tls is True and (self._authorities or self._mode != "require"):
            import ssl  # 50 ms with the authorities

            self._tls = ssl.create_default_context(cafile=self._authorities or None)
            self._tls.check_hostname = self._mode == "verify-full"
        return self._tls

    def close(self) -> None:
        self._pool.close()


def _table(view: View) -> str:
    name = f"{view.project}_{view.name}"
    quoted: str = pg8000.native.identifier(name)
    return quoted


def _plain(view: View, name: str, key: bytes) -> int | str:
    """The join key's own value, taken out of an entity key with that one key."""
    datatype = view.keys[name]
    content = key[4 + 8 + len(name.encode()) + 8 :]
    return content.decode() if datatype == "BYTES" else int.from_bytes(content, "little", signed=True)
