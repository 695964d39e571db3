"""The Lambda entry: one event in, one answer out."""

from __future__ import annotations

import os
import time

_started = time.perf_counter()

from function import http_event  # noqa: E402  (the clock starts before our own imports)
from function.api import Api  # noqa: E402
from function.direct import answer_direct  # noqa: E402
from function.errors import PredictError  # noqa: E402
from function.message import error_response  # noqa: E402
from function.settings import Settings  # noqa: E402
from function.telemetry import server_timing  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

API = Api(Settings(os.environ))
if API.settings.initialization_type != "on-demand":
    API.models.get(API.settings.model_name).warm()  # INIT is not on a request's clock here

_init_ms = (time.perf_counter() - _started) * 1000
_cold = True


def handler(event: Any, _context: object) -> Any:
    """The answer in the event's own format; bytes of JSON for a direct invoke."""
    global _cold  # noqa: PLW0603  (one environment, one first answer)
    # 1. Tell what kind of event it is.
    adapter = http_event.classify(event)
    if adapter is None:
        return answer_direct(API, event)
    to_request, from_response = adapter
    # 2. Unwrap the request and answer it.
    try:
        request = to_request(event)
    except PredictError as error:
        return from_response(event, error_response(error))
    request.phases["init"] = _init_ms
    response = API.respond(request)
    # 3. Report.
    response.headers["Server-Timing"] = server_timing(request, cold=_cold)
    _cold = False
    # 4. Wrap the response.
    return from_response(event, response)
