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
    from collections.abc import Iterator

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
        names = [(view, column.name) for view in _views_of(inference, wanted.service) for column in view.columns]
    else:
        known = _views(inference, {each.partition(":")[0] for each in wanted.features})
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
    present, never = ["PRESENT"] * count, [feast.NEVER] * count
    columns = [feast.Column(name, keys, present, never) for name, keys in wanted.entities.items()]
    answers = {
        view: _Answers(view, outcomes[at * count : (at + 1) * count], join.unknown_status())
        for at, view in enumerate(views)
    }
    for view, name in names:
        columns.append(answers[view].column(name, f"{view.name}__{name}" if wanted.full_names else name))
    return columns


class _Answers:
    """What is said of the rows of one view: status and time are the same for all of its columns that a store has."""

    __slots__ = ("_rows", "_statuses", "_times")

    def __init__(self, view: View, outcomes: list[Outcome], unknown: str) -> None:
        oldest = time.time() - view.ttl if view.ttl else 0.0
        rows = [outcome.row for outcome in outcomes]
        self._rows = [None if row is None or row.missing() else row for row in rows]
        self._times = [feast.NEVER if row is None else feast.time_text(row.event_time) for row in self._rows]
        self._statuses = [
            unknown if row is None else "OUTSIDE_MAX_AGE" if view.ttl and row.event_time < oldest else "PRESENT"
            for row in self._rows
        ]

    def column(self, name: str, shown: str) -> feast.Column:
        """The column `name` of the view, which the answer calls `shown`."""
        values = [None if row is None else row.values.get(name) for row in self._rows]
        statuses = self._statuses
        for index, row in enumerate(self._rows):
            if row is not None and name not in row.values:
                statuses = statuses.copy() if statuses is self._statuses else statuses
                statuses[index] = "INVALID" if name in row.unreadable else "NOT_FOUND"
        return feast.Column(shown, values, statuses, self._times)


def write(inference: Inference, exchange: Exchange, parameters: dict[str, str]) -> Response:
    """Writes whole rows of a view to the nearest store, then to this process's memory.

    A record of SQS or Kinesis needs no key, but the setting. PredictError: NOT_FOUND without either or for an unknown
    view, UNAVAILABLE where the store takes nothing.
    """
    if exchange.record is None:
        check_key(inference, exchange, "POST /v1/features/{view}")
    elif not inference.settings.features_from_records:
        raise PredictError("NOT_FOUND", "records may not write features here; set FEATURES_FROM_RECORDS=1 to let them")
    view = _view(_views(inference, {parameters["view"]}), parameters["view"])
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


def _views(inference: Inference, wanted: set[str]) -> dict[str, View]:
    """The views of these names, perhaps with others; of two of one name the default model's, else the first's."""
    found: dict[str, View] = {}
    for name in _default_first(inference):
        try:
            for view in _views_of(inference, name):
                found.setdefault(view.name, view)
        except PredictError as error:
            if error.code not in ("NOT_FOUND", "UNAVAILABLE"):
                raise
        if wanted <= found.keys():  # a look at each model of a repository takes 0.1 ms
            break
    return found


def _default_first(inference: Inference) -> Iterator[str]:
    default = inference.settings.model_name
    yield default
    yield from (name for name in inference.models.names() if name != default)


def _view(known: dict[str, View], name: str) -> View:
    if name not in known:
        raise PredictError("NOT_FOUND", f"no model has a view {name[:100]!r}; there are {', '.join(known) or 'none'}")
    return known[name]


def _feature(known: dict[str, View], reference: str) -> tuple[View, str]:
    view_name, _, name = reference.partition(":")
    view = _view(known, view_name)
    if name not in view.names:
        message = f"view {view_name!r} has no feature {name[:100]!r}; it has {', '.join(view.names)}"
        raise PredictError("NOT_FOUND", message)
    return view, name
