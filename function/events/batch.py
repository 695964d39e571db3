"""One object or request of a record: read, answered, and its result written to S3."""

from __future__ import annotations

import json
import sys
import time
from urllib.parse import quote

from function.aws.credentials import AwsError
from function.aws.s3 import S3, parse_uri
from function.errors import PredictError, invalid
from function.events.unwrapped import FORMS, route_for_payload
from function.limits import LIMITS
from function.messages import Request, Response, error_response
from function.observability.telemetry import Context, Trace, report
from function.settings import xray_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.app import App

SUFFIX = ".prediction.json"  # of every result; an object of such a name is never taken as input
RESERVE_MS = 1000.0  # of the invocation's time: with less left, nothing is begun


class BatchItem:
    """What is to be answered: the object `uri`, or the request `body`; `name` is the record's in logs and results."""

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
        self.problem, self.xray = problem, xray  # why it cannot be done at all; the sender's X-Ray header


class BatchProcessor:
    """Answers the items of one invocation, one after the other."""

    def __init__(self, api: App, context: Any, *, cold: bool) -> None:
        """`context` is Lambda's, or None where there is no time limit."""
        self._api, self._context, self._cold = api, context, cold
        self._s3 = S3(api.settings)
        self._slowest_ms = 0.0

    def run(self, item: BatchItem) -> str | None:
        """None when the item is done, else why it is not. Never raises; writes one line of log."""
        if item.uri and item.uri.endswith(SUFFIX):
            mend = "narrow the notification's prefix or suffix, or set RESULT_URI to another bucket"
            print(f"zeroserve: warning: {item.uri} is a result and is no input; {mend}", file=sys.stderr, flush=True)
            return None  # refused, not failed: trying it again would not help
        log = self._log(item)
        request = Request("POST", "", {}, {}, b"")
        try:
            self._check_time()
            target = self._target(item)
            self._read(item, request)
            response = self._api.respond(request)
            if response.headers["Content-Type"] != "application/json":
                raise invalid("results are JSON only; leave binary_data_output out")
            if response.status == 200:
                self._write(target, request, response)
        except PredictError as error:
            response = error_response(error)
        except AwsError as error:
            response = error_response(PredictError("UNAVAILABLE", str(error)))
        except Exception:  # noqa: BLE001  (a defect must not take the neighbours with it)
            import traceback

            traceback.print_exc()
            response = error_response(PredictError("INTERNAL", "the function failed unexpectedly; its log says where"))
        self._slowest_ms = max(self._slowest_ms, (time.perf_counter() - log.started) * 1000)
        report(self._api.settings, log, request, response)
        return None if response.status == 200 else str(json.loads(response.body)["error"])

    def defer(self, name: str, reason: str) -> None:
        """The log line of a item that is not begun."""
        response = error_response(PredictError("UNAVAILABLE", f"handed back: {reason}"))
        report(self._api.settings, self._log(BatchItem("sqs", name)), Request("POST", "", {}, {}, b""), response)

    def _log(self, item: BatchItem) -> Context:
        cold, self._cold = self._cold, False
        log = Context(item.source, getattr(self._context, "aws_request_id", None), cold=cold)
        log.trace, log.record = Trace(xray=item.xray or xray_header()), item.name
        return log

    def _check_time(self) -> None:
        if self._context is None:
            return
        left, needed = self._context.get_remaining_time_in_millis(), max(RESERVE_MS, 2 * self._slowest_ms)
        if left < needed:
            raise PredictError("UNAVAILABLE", f"handed back: {left} ms are left, a record may take {needed:.0f}")

    def _target(self, item: BatchItem) -> tuple[str, str]:
        """Bucket and key of the result: always the same for a record, so that a second delivery changes nothing."""
        if item.problem:
            raise invalid(item.problem)
        try:
            source = parse_uri(item.uri) if item.uri else None
            if self._api.settings.result_uri:
                bucket, prefix = parse_uri(self._api.settings.result_uri)
                place = "/".join(source) if source else item.name
                return bucket, (prefix.rstrip("/") + "/" if prefix else "") + place + SUFFIX
        except ValueError as error:
            raise invalid(str(error)) from None
        if source is None:
            raise PredictError("UNAVAILABLE", "RESULT_URI is not set; it says where the results of requests go")
        return source[0], source[1] + SUFFIX

    def _read(self, item: BatchItem, request: Request) -> None:
        """Fills the request: JSON by its fields, all else is a picture."""
        request.body = item.body
        if item.uri:
            request.body = self._s3.get(*parse_uri(item.uri), LIMITS.largest_body)
        request.path = "/classify"
        if not item.uri or request.body[:64].lstrip().startswith(b"{"):
            try:
                path = route_for_payload(json.loads(request.body), self._api.settings.model_name)
            except (ValueError, RecursionError):
                path = None
            if path is None:
                raise invalid(f'expected JSON: {FORMS}, or {{"uri": "s3://bucket/key"}}')
            request.path = path

    def _write(self, target: tuple[str, str], request: Request, response: Response) -> None:
        metadata = {}
        if request.model:
            metadata = {"model": quote(request.model[0]), "model-version": quote(request.model[1])}
        self._s3.put(*target, response.body, response.headers["Content-Type"], metadata)
