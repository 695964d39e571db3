"""The Lambda entry: one event in, one answer out."""

from __future__ import annotations

import gc
import os
import time

_started = time.perf_counter()
gc.disable()  # nothing to collect before the second request: 3 of 76 ms of a cold start

from function.app import App  # noqa: E402  (the clock starts before our own imports)
from function.errors import PredictError  # noqa: E402
from function.events import direct, http_event  # noqa: E402
from function.exchange import Exchange  # noqa: E402
from function.messages import Request, error_response  # noqa: E402
from function.native import malloc  # noqa: E402
from function.observability import telemetry  # noqa: E402
from function.settings import Settings, xray_header  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

APP = App(Settings(os.environ))
if APP.settings.initialization_type == "lambda-managed-instances":
    malloc.return_large_buffers()
else:
    malloc.grow_in_large_steps()
if APP.settings.initialization_type != "on-demand":
    APP.inference.models.get(APP.settings.model_name).warm()  # INIT is not on a request's clock here
    if APP.settings.initialization_type == "lambda-managed-instances":
        from function.engine.idle import Idle

        APP.inference.idle = Idle()
    if APP.settings.initialization_type == "snap-start":
        from function.engine import snapstart

        snapstart.register(APP.inference.models)

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
    request_id = getattr(context, "aws_request_id", None)
    request, source = Request("", "", {}, {}, b""), "http" if adapter else "direct"
    exchange = Exchange(request, source, request_id, xray=xray_header(), cold=cold)
    exchange.ends_with(context)
    try:
        exchange.request = adapter[0](event) if adapter else direct.to_request(event, APP.settings.model_name)
        APP.respond(exchange)
    except PredictError as error:
        exchange.response = error_response(error)
    # 3. Tell the caller what was measured, in the answer's headers.
    exchange.phases = {"init": _init_ms} | exchange.phases
    telemetry.finish(exchange)
    # 4. Wrap the response; one that cannot leave becomes an error here.
    answer: Any
    if adapter:
        answer = adapter[1](event, exchange.response)
    else:
        exchange.response = direct.limited(exchange.response, http_event.LAMBDA_LIMIT)
        answer = exchange.response.body
    # 5. Tell the log.
    telemetry.report(APP.settings, exchange, answer["statusCode"] if adapter else None)
    return answer
