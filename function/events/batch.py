"""One object or request of a record: read, answered, and its result written to S3."""

from __future__ import annotations

from urllib.parse import quote

from function.aws.errors import AwsError
from function.aws.s3 import S3, parse_uri
from function.codecs import json_body
from function.errors import PredictError, invalid
from function.events.direct import FORMS, route_for_payload
from function.exchange import Exchange
from function.limits import LIMITS
from function.messages import Request, defect_response, error_response
from function.observability.telemetry import report, warn
from function.settings import xray_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.app import App
    from function.messages import Body

SUFFIX = ".prediction.json"  # of every result; an object of such a name is never taken as input
RESERVE_MS = 1000.0  # milliseconds: with less time left in the invocation, no record is begun


class BatchItem:
    """What is to be answered: the object `uri`, or the request `body`; `name` is the record's in logs and results.

    `problem` is why it cannot be answered at all, `xray` the sender's X-Ray header.
    """

    __slots__ = ("body", "name", "problem", "source", "uri", "xray")

    def __init__(  # noqa: PLR0913  (either of three things)
        self,
        source: str,
        name: str,
        *,
        uri: str | None = None,
        body: bytes = b"",
        problem: str | None = None,
        xray: str | None = None,
    ) -> None:
        self.source, self.name, self.uri, self.body = source, name, uri, body
        self.problem, self.xray = problem, xray


class BatchProcessor:
    """Answers the items of one invocation, one after the other."""

    def __init__(self, app: App, context: Any, *, cold: bool) -> None:
        """`context` is Lambda's, or None where there is no time limit."""
        self._app, self._context, self._cold = app, context, cold
        self._s3 = S3(app.settings)
        self._slowest_ms = 0.0

    def run(self, item: BatchItem) -> str | None:
        """None when the item is done, else why it is not. Never raises; writes one line of log."""
        if item.uri and item.uri.endswith(SUFFIX):
            mend = "narrow the notification's prefix or suffix, or set RESULT_URI to another bucket"
            warn(f"{item.uri} is a result and is no input; {mend}")
            return None  # refused, not failed: trying it again would not help
        exchange = self._exchange(item)
        try:
            self._check_time(exchange)
            if view := self._view(item):
                exchange.request.path = f"/v1/features/{quote(view, safe='')}"
                self._app.respond(exchange)
            else:
                target = self._target(item)
                self._read(item, exchange.request)
                response = self._app.respond(exchange)
                if response.headers["Content-Type"] != "application/json":
                    raise invalid("results are JSON only; leave binary_data_output out")
                if response.status == 200:
                    self._write(target, exchange)
        except PredictError as error:
            exchange.response = error_response(error)
        except AwsError as error:
            exchange.response = error_response(PredictError("UNAVAILABLE", str(error)))
        except Exception:  # noqa: BLE001  (a defect must not take the neighbours with it)
            exchange.response = defect_response()
        self._slowest_ms = max(self._slowest_ms, exchange.seconds() * 1000)
        report(self._app.settings, exchange)
        error_told = exchange.response.error
        return error_told.message if error_told else None

    def defer(self, source: str, name: str, reason: str) -> None:
        """The log line of an item that is not begun."""
        exchange = self._exchange(BatchItem(source, name))
        exchange.response = error_response(PredictError("UNAVAILABLE", f"handed back: {reason}"))
        report(self._app.settings, exchange)

    def _exchange(self, item: BatchItem) -> Exchange:
        cold, self._cold = self._cold, False
        request = Request("POST", "", {}, {}, item.body)
        request_id, xray = getattr(self._context, "aws_request_id", None), item.xray or xray_header()
        exchange = Exchange(request, item.source, request_id, xray=xray, cold=cold)
        exchange.record = item.name
        return exchange

    def _check_time(self, exchange: Exchange) -> None:
        if self._context is None:
            return
        left, needed = self._context.get_remaining_time_in_millis(), max(RESERVE_MS, 2 * self._slowest_ms)
        if left < needed:
            raise PredictError("UNAVAILABLE", f"handed back: {left} ms are left, a record may take {needed:.0f}")
        exchange.ends_within(left)

    def _view(self, item: BatchItem) -> str:
        """The view whose new rows the record is; empty for all else."""
        if b'"rows"' not in item.body or b'"view"' not in item.body:
            return ""
        try:
            root = json_body.parse(item.body)
        except PredictError:
            return ""
        view = root.get("view")
        return view if isinstance(view, str) and root.get("rows") is not None else ""

    def _target(self, item: BatchItem) -> tuple[str, str]:
        """Bucket and key of the result: always the same for a record, so that a second delivery changes nothing."""
        if item.problem:
            raise invalid(item.problem)
        try:
            source = parse_uri(item.uri) if item.uri else None
            if self._app.settings.result_uri:
                bucket, prefix = parse_uri(self._app.settings.result_uri)
                place = "/".join(source) if source else item.name
                return bucket, (prefix.rstrip("/") + "/" if prefix else "") + place + SUFFIX
        except ValueError as error:
            raise invalid(str(error)) from None
        if source is None:
            raise PredictError("UNAVAILABLE", "RESULT_URI is not set; it says where the results of requests go")
        return source[0], source[1] + SUFFIX

    def _read(self, item: BatchItem, request: Request) -> None:
        """Fills the request: JSON by its fields, all else is a picture."""
        if item.uri:
            request.body = self._s3.get(*parse_uri(item.uri), LIMITS.largest_body)
        request.path = "/classify"
        if not item.uri or request.body[:64].lstrip().startswith(b"{"):
            request.document, request.path = self._parsed(request.body)

    def _parsed(self, body: Body) -> tuple[json_body.Object, str]:
        """The JSON object in `body`, and the path that it is for."""
        path = None
        try:
            root = json_body.parse(body)
            inputs = root.get("inputs")
            of_objects = None
            if isinstance(inputs, json_body.Array) and len(inputs):
                of_objects = isinstance(inputs.first(), json_body.Object)
            fields = {name for name, _ in root.fields()}
            path = route_for_payload(fields, self._app.settings.model_name, inputs_of_objects=of_objects)
        except PredictError:
            pass
        if path is None:
            raise invalid(f'expected JSON: {FORMS}, {{"view", "rows"}}, or {{"uri": "s3://bucket/key"}}')
        return root, path

    def _write(self, target: tuple[str, str], exchange: Exchange) -> None:
        metadata = {}
        if exchange.model:
            metadata = {"model": quote(exchange.model[0]), "model-version": quote(exchange.model[1])}
        self._s3.put(*target, exchange.response.body, exchange.response.headers["Content-Type"], metadata)
