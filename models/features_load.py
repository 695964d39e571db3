"""Rows of a CSV or Parquet file into a store of entity features, in the layout that Feast writes.

python -m models.features_load cards.csv --view card_stats --url redis://127.0.0.1:6379
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import time
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from function.errors import PredictError
from function.features import embedded, tier
from function.features.view import Row, View
from function.settings import Settings
from models import extras, feature_tables, manifest, places
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from function.features.tier import Store

    Rows = Iterator[tuple[bytes, Row]]

BATCH = 2000  # rows to a round trip
TIMESTAMP = "event_timestamp"  # the column that says when a row was observed, RFC 3339; without it, now
_ATTEMPTS, _PAUSE_S = 5, 0.2  # the pause is three times as long after each
_TIMEOUT_S = 60.0  # for a batch; nobody waits for an answer
_ENCODING = "utf-8-sig"  # with or without the mark that spreadsheets put before it


class LoadError(Exception):
    """A file or store that cannot be used; the message says how to mend it."""


def load(path: Path, view: View, settings: Settings, *, restart: bool = False) -> int:
    """Writes every row that an earlier, interrupted run has not; returns how many. LoadError, PredictError, OSError."""
    tiers = tier.from_settings(settings, _TIMEOUT_S)
    if not tiers:
        raise LoadError("no store is named; set FEATURES_URL or give --url redis://HOST:PORT")
    if not path.is_file():
        raise LoadError(f"{path} is not there; name a CSV or Parquet file")
    store, mark = tiers[0].store, _mark(path, view, settings)
    feature_tables.create(store, view)
    done = 0 if restart else _done(mark)
    written, beside = 0, mark.with_suffix(".part")
    rows = islice(_rows(path, view), done, None)
    # Standard error: what a script reads is on standard output.
    with tqdm(desc=f"load {path.name}", unit=" rows", initial=done, total=_count(path), disable=None) as progress:
        while batch := [(view, key, row) for key, row in islice(rows, BATCH)]:
            _write(store, batch)
            done, written = done + len(batch), written + len(batch)
            beside.write_text(json.dumps({"rows": done}))
            beside.replace(mark)  # at once: whoever is killed here does not begin again from the first row
            progress.update(len(batch))
    mark.unlink(missing_ok=True)
    return written


def _write(store: Store, batch: list[tuple[View, bytes, Row]]) -> None:
    """A store may be away for a moment; what was written twice is the same."""
    for attempt in range(_ATTEMPTS):
        try:
            return store.write(batch)
        except PredictError:
            raise
        except Exception as error:
            if attempt == _ATTEMPTS - 1:
                message = (
                    f"the store took no more ({type(error).__name__}: {error}); the same command goes on from here"
                )
                raise LoadError(message) from error
            time.sleep(_PAUSE_S * 3**attempt)
    raise AssertionError


def _mark(path: Path, view: View, settings: Settings) -> Path:
    """Where it is written how far a run has come: for this file as it is, this view and this store."""
    stat = path.stat()
    url = settings.features_url or settings.features_database_url
    of = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, view.project, view.name, url)
    folder = places.cache() / "features"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(repr(of).encode()).hexdigest()[:16]}.json"


def _done(mark: Path) -> int:
    try:
        return int(json.loads(mark.read_text())["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _count(path: Path) -> int | None:
    if path.suffix == ".parquet":
        return int(_parquet(path).metadata.num_rows)
    with path.open("rb") as file:
        return max(sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b"")) - 1, 0)


def _rows(path: Path, view: View) -> Rows:
    names = [*view.keys, *(column.name for column in view.columns)]
    if path.suffix == ".parquet":
        return _parquet_rows(path, view, names)
    with path.open(encoding=_ENCODING, newline="") as file:
        head = next(csv.reader(file), [])
    _check_head(path, head, names)
    return _csv_rows(path, view, timed=TIMESTAMP in head)


def _check_head(path: Path, head: list[str], names: list[str]) -> None:
    if twice := sorted({name for name in head if head.count(name) > 1}):
        raise LoadError(f"{path} has the columns {', '.join(twice)} twice; leave one of each")
    if lacking := [name for name in names if name not in head]:
        raise LoadError(f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(head)}")


def _csv_rows(path: Path, view: View, *, timed: bool) -> Rows:
    with path.open(encoding=_ENCODING, newline="") as file:
        rows = embedded.rows(view, file, time.time(), TIMESTAMP if timed else "")
        number = 1
        while True:
            try:
                yield next(rows)
            except StopIteration:
                return
            except (ValueError, PredictError) as error:
                raise LoadError(f"{path}: row {number}: {error}") from error
            number += 1


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise LoadError("Parquet needs the package pyarrow; run: pip install pyarrow, or send CSV") from error
    return parquet.ParquetFile(path)


def _parquet_rows(path: Path, view: View, names: list[str]) -> Rows:
    file = _parquet(path)
    head = list(file.schema_arrow.names)
    _check_head(path, head, names)
    read = [*names, TIMESTAMP] if TIMESTAMP in head else names
    now, number = time.time(), 0
    for batch in file.iter_batches(BATCH, columns=read):
        for values in batch.to_pylist():
            number += 1
            try:
                yield _parquet_row(view, values, now)
            except (ValueError, AttributeError, PredictError) as error:
                raise LoadError(f"{path}: row {number}: {error}") from error


def _parquet_row(view: View, values: dict[str, Any], now: float) -> tuple[bytes, Row]:
    when = values.pop(TIMESTAMP, None)
    for column in view.columns:
        value = values[column.name]
        if isinstance(value, float) and math.isnan(value):
            values[column.name] = None  # how pandas writes a gap
        elif value is not None and not column.holds(value):
            raise ValueError(f"{column.name!r} is {value!r}; {column.datatype} is expected")
    seconds = now if when is None else when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    return view.entity_key(values), Row(seconds, {column.name: values[column.name] for column in view.columns})


def view_of(name: str, model: str = "") -> View:
    """The view of this name of `model`, else of any model here. LoadError when there is none."""
    known = []
    for each in [model] if model else manifest.names():
        for document in extras.tables(manifest.read(manifest.folder_of(each))).get("features", []):
            known.append(document["view"])
            if document["view"] == name:
                return View(document)
    raise LoadError(f"no model has a view {name!r}; there are {', '.join(known) or 'none'}")


def main() -> None:
    """Loads the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CSV with a head, or Parquet: keys and columns of the view by name")
    parser.add_argument("--view", required=True)
    parser.add_argument("--model", default="", help="the model whose view it is; by default any that has it")
    parser.add_argument("--url", default="", help="the store; by default FEATURES_URL")
    parser.add_argument("--restart", action="store_true", help="from the first row, whatever an earlier run did")
    arguments = parser.parse_args()
    try:
        print(told(arguments.file, arguments.view, arguments.model, arguments.url, restart=arguments.restart))
    except (LoadError, ManifestError, PredictError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


def told(path: Path, view: str, model: str, url: str, *, restart: bool) -> str:
    """Loads, and says how long it took. LoadError, ManifestError, PredictError, OSError."""
    environ = {**os.environ, **({"FEATURES_URL": url} if url else {})}
    start = time.monotonic()
    count = load(path, view_of(view, model), Settings(environ), restart=restart)
    seconds = time.monotonic() - start
    return f"{count:,} rows in {seconds:.1f} s, {count / max(seconds, 1e-9):,.0f} a second"


if __name__ == "__main__":
    main()
