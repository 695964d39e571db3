"""The Lambda entry: one event in, one answer out."""

from __future__ import annotations

import os
import time

_started = time.perf_counter()

from function import http_event  # noqa: E402  (the clock starts before our own imports)
from function.api import Api  # noqa: E402
from function.direct import answer_direct  # noqa: E402
from function.errors import PredictError  # noqa: E402
from function.message import Request, error_response  # noqa: E402
from function.settings import Settings  # noqa: E402
from function.telemetry import server_timing  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

API = Api(Settings(os.environ))
if API.settings.initialization_type != "on-demand":
    API.models.get(API.settings.model_name).warm()  # INIT is not on a request's clock here
    if API.settings.initialization_type == "snap-start":
        from function import snapstart

        snapstart.register(API.models)

_init_ms = (time.perf_counter() - _started) * 1000
_cold = True


def handler(event: Any, _context: object) -> Any:
    """The answer in the event's own format; bytes of JSON for a direct invoke."""
    global _cold
    cold, _cold = _cold, False
    # 1. Tell what kind of event it is.
    adapter = http_event.classify(event)
    if adapter is None:
        return answer_direct(API, event, http_event.LAMBDA_LIMIT)
    to_request, from_response = adapter
    # 2. Unwrap the request and answer it.
    try:
        request = to_request(event)
        response = API.respond(request)
    except PredictError as error:
        request, response = Request("", "", {}, {}, b""), error_response(error)
    # 3. Report.
    request.phases = {"init": _init_ms} | request.phases
    response.headers["Server-Timing"] = server_timing(request, cold=cold)
    # 4. Wrap the response.
    return from_response(event, response)
