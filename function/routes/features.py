"""What is asked and told about entity features beside a model: Feast's POST /get-online-features, and new values."""

from __future__ import annotations

import time

from function.codecs import feast
from function.codecs.values import shown
from function.errors import PredictError, invalid
from function.exchange import LookedUp
from function.features.join import FAILED
from function.limits import LIMITS
from function.messages import Response, json_response
from function.routes.admin import check_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.exchange import Exchange
    from function.features.lookup import Outcome
    from function.features.view import View
    from function.inference import Inference

_BYTES = 128  # of memory for a value on its way
_FEWER = "ask for fewer at a time"


def get_online_features(inference: Inference, exchange: Exchange, _parameters: dict[str, str]) -> Response:
    """The values, statuses and times that Feast's own server would give; a feature service is a model's name.

    PredictError: NOT_FOUND for a view or feature that no model here has, UNAVAILABLE where no store answers.
    """
    wanted = feast.Wanted(exchange.request.body)
    if wanted.service:
        models = [_views_of(inference, wanted.service)]
        names = [(view, column.name) for view in models[0] for column in view.columns]
    else:
        known = _views(inference)
        names = [_feature(known, each) for each in wanted.features]
    views = list(dict.fromkeys(view for view, _ in names))
    needed = dict.fromkeys(name for view in views for name in view.keys)
    if set(needed) != set(wanted.entities):
        raise invalid(f"'entities' has {', '.join(wanted.entities)}; these features are of {', '.join(needed)}")
    with (
        exchange.phase("features"),
        LIMITS.hold(_BYTES * len(wanted) * (len(names) + len(needed)), f"{len(wanted)} entities", _FEWER),
    ):
        told = exchange.features = LookedUp()
        body = feast.answer(_looked_up(inference, wanted, names, told))
        return Response(200, {"Content-Type": "application/json"}, body)


def _looked_up(
    inference: Inference, wanted: feast.Wanted, names: list[tuple[View, str]], told: LookedUp
) -> list[feast.Column]:
    columns = []
    for name, keys in wanted.entities.items():
        column = feast.Column(name)
        columns.append(column)
        for key in keys:
            column.add(key, "PRESENT", 0.0)
    views = list(dict.fromkeys(view for view, _ in names))
    count, join = len(wanted), inference.join()
    rows = [dict(zip(wanted.entities, row, strict=True)) for row in zip(*wanted.entities.values(), strict=True)]
    outcomes = join.lookup.rows([(view, view.entity_key(row)) for view in views for row in rows])
    now = time.time()
    for outcome in outcomes:
        told.found(outcome.source)
        if outcome.row:
            told.served(outcome.row.event_time, now)
    told.resting = join.lookup.resting()
    if FAILED in told.sources:
        raise PredictError("UNAVAILABLE", "no store of features answered; ask again", {"Retry-After": "1"})
    for view, name in names:
        at = views.index(view) * count
        columns.append(_column(view, name, outcomes[at : at + count], join.unknown_status(), full=wanted.full_names))
    return columns


def _column(view: View, name: str, outcomes: list[Outcome], unknown: str, *, full: bool) -> feast.Column:
    column, oldest = feast.Column(f"{view.name}__{name}" if full else name), time.time() - view.ttl
    for outcome in outcomes:
        row = outcome.row
        if row is None or row.missing():
            column.add(None, unknown, 0.0)
        elif name not in row.values:
            column.add(None, "INVALID" if name in row.unreadable else "NOT_FOUND", row.event_time)
        else:
            status = "OUTSIDE_MAX_AGE" if view.ttl and row.event_time < oldest else "PRESENT"
            column.add(row.values[name], status, row.event_time)
    return column


def write(inference: Inference, exchange: Exchange, parameters: dict[str, str]) -> Response:
    """Writes whole rows of a view to the nearest store, then to this process's memory.

    A record of SQS or Kinesis needs no key, but the setting. PredictError: NOT_FOUND without either or for an unknown
    view, UNAVAILABLE where the store takes nothing.
    """
    if exchange.record is None:
        check_key(inference, exchange, "POST /v1/features/{view}")
    elif not inference.settings.features_from_records:
        raise PredictError("NOT_FOUND", "records may not write features here; set FEATURES_FROM_RECORDS=1 to let them")
    view = _view(_views(inference), parameters["view"])
    with exchange.phase("features"), LIMITS.hold(8 * len(exchange.request.body), "these rows", "send fewer at a time"):
        show = shown if exchange.record is None else _hidden
        rows = [(view, key, row) for key, row in feast.rows(exchange.request.body, view, show)]
        try:
            inference.join().lookup.write(rows)
        except PredictError:
            raise
        except Exception as error:
            # No text of the store's: it may quote what was to be written.
            message = f"the store did not take the rows ({type(error).__name__}); send them again"
            raise PredictError("UNAVAILABLE", message, {"Retry-After": "1"}) from error
    return json_response(200, {"view": view.name, "rows": len(rows)})


def _hidden(_value: object) -> str:
    """What is said of a record's value: nobody is told of a record but the log, which has no values."""
    return "something else"


def _views_of(inference: Inference, model: str) -> list[View]:
    metadata = inference.metadata({"model": model})
    if not metadata.features:
        raise PredictError(
            "NOT_FOUND", f"model {model!r} has no [[features]]; a feature service is a model's name here"
        )
    return inference.join().views(metadata.fingerprint, metadata.features, metadata.folder)


def _views(inference: Inference) -> dict[str, View]:
    """The views of all models by name; of two with one name the default model's, else the first's."""
    found: dict[str, View] = {}
    names = inference.models.names()
    names.sort(key=lambda name: name != inference.settings.model_name)
    for name in names:
        try:
            for view in _views_of(inference, name):
                found.setdefault(view.name, view)
        except PredictError as error:
            if error.code not in ("NOT_FOUND", "UNAVAILABLE"):
                raise
    return found


def _view(known: dict[str, View], name: str) -> View:
    if name not in known:
        raise PredictError("NOT_FOUND", f"no model has a view {name[:100]!r}; there are {', '.join(known) or 'none'}")
    return known[name]


def _feature(known: dict[str, View], reference: str) -> tuple[View, str]:
    view_name, _, name = reference.partition(":")
    view = _view(known, view_name)
    columns = [column.name for column in view.columns]
    if name not in columns:
        message = f"view {view_name!r} has no feature {name[:100]!r}; it has {', '.join(columns)}"
        raise PredictError("NOT_FOUND", message)
    return view, name
