"""The Lambda entry: one event in, one answer out."""

from __future__ import annotations

import gc
import os
import time

_started = time.perf_counter()
gc.disable()  # nothing to collect before the second request: 3 of 76 ms of a cold start

from function.concurrency import Background  # noqa: E402  (the clock starts before our own imports)
from function.native import malloc, ort_capi  # noqa: E402
from function.settings import Settings, xray_header  # noqa: E402

SETTINGS = Settings(os.environ)
INIT = SETTINGS.initialization_type
(malloc.return_large_buffers if INIT == "lambda-managed-instances" else malloc.grow_in_large_steps)()
if INIT == "on-demand" and SETTINGS.load_in_init:
    Background(ort_capi.get_library)  # 14 ms, mostly without the GIL: they pass while the rest is imported

from function.app import App  # noqa: E402
from function.errors import PredictError  # noqa: E402
from function.events import direct, http_event  # noqa: E402
from function.exchange import Exchange  # noqa: E402
from function.messages import Request, error_response  # noqa: E402
from function.observability import telemetry  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

APP = App(SETTINGS)
APP.inference.initialise(INIT)
_init_ms = (time.perf_counter() - _started) * 1000
_cold = True


def handler(event: Any, context: Any) -> Any:
    """The answer in the event's own format; bytes of JSON for a direct invoke."""
    global _cold
    cold, _cold = _cold, False
    if not cold:
        gc.enable()
    # 1. Tell what kind of event it is: HTTP, records of S3 or SQS, else a direct invoke.
    adapter = http_event.classify(event)
    if adapter is None and isinstance(event, dict) and ("Records" in event or event.get("source") == "aws.s3"):
        from function.events import records  # brings http.client, which costs 70 ms

        if records.accepts(event):
            return records.answer_records(APP, event, context, cold=cold)
    # 2. Unwrap the request and answer it.
    source, request_id = "http" if adapter else "direct", getattr(context, "aws_request_id", None)
    exchange = Exchange(Request("", "", {}, {}, b""), source, request_id, xray=xray_header(), cold=cold)
    exchange.ends_with(context)
    try:
        exchange.request = adapter[0](event) if adapter else direct.to_request(event, APP.settings.model_name)
        APP.respond(exchange)
    except PredictError as error:
        exchange.response = error_response(error)
    streams = adapter is not None and http_event.streams(event, context, SETTINGS)
    if streams or exchange.response.chunks is not None:
        from function.events import streaming  # for whoever turns it on

        streaming.begin(exchange) if streams else streaming.gather(exchange, http_event.LAMBDA_LIMIT)
    # 3. Tell the caller what was measured, in the answer's headers.
    exchange.phases = {"init": _init_ms} | exchange.phases
    telemetry.finish(exchange)
    # 4. Wrap the response; one that cannot leave becomes an error here. One that streams tells the log when it ends.
    if streams:
        return streaming.answer(SETTINGS, exchange)
    if not adapter:
        exchange.response = direct.limited(exchange.response, http_event.LAMBDA_LIMIT)
    answer: Any = adapter[1](event, exchange.response) if adapter else exchange.response.body
    # 5. Tell the log.
    telemetry.report(APP.settings, exchange, answer["statusCode"] if adapter else None)
    return answer
