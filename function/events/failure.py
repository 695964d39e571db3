"""A failure of the function as Lambda and X-Ray take it, in the form of awslambdaric, and its line of log."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from function.events.runtime_client import Invocation, RuntimeClient
    from function.settings import RuntimeSettings

    Frame = tuple[str, int, str, str | None]  # file, line, function, source

# Files that call the function or import it: of no interest to its author.
_OWN = ("/events/invocations.py", "/importlib/__init__.py", "importlib._bootstrap>", "importlib._bootstrap_external>")
_FRAME_OF_JSON, _FRAME_OF_TEXT = 0xA55A0016, 0xA55A0017


class FaultError(Exception):
    """A failure that is not an exception of the handler's: `error_type` is Lambda's word for it."""

    def __init__(self, error_type: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type, self.trace = error_type, trace or []


def tell(client: RuntimeClient, error: BaseException, settings: RuntimeSettings, invocation: Invocation | None) -> None:
    """Logs the failure and posts it, for the invocation or, without one, for INIT; RuntimeApiError."""
    client.fail(invocation, *described(error, settings, invocation))


def described(error: BaseException, settings: RuntimeSettings, invocation: Invocation | None) -> tuple[str, bytes, str]:
    """Logs the failure; its type, its document as JSON, and for an invocation what X-Ray is told of it."""
    frames: list[Frame] = []
    if isinstance(error, FaultError):
        error_type, trace, kind = error.error_type, error.trace, "LambdaValidationError"
    else:
        frames = [(at.filename, at.lineno or 0, at.name, at.line) for at in traceback.extract_tb(error.__traceback__)]
        while frames and frames[0][0].endswith(_OWN):
            del frames[0]
        error_type = kind = type(error).__name__
        trace = traceback.format_list(frames)
    document = {
        "errorMessage": str(error),
        "errorType": error_type,
        "requestId": invocation.request_id if invocation else "",
        "stackTrace": trace,
    }
    _log(document, settings)
    # JSON in ASCII: a header takes nothing else, and a message may hold half of a surrogate pair.
    cause = _xray_cause(kind, str(error), frames) if invocation else ""
    return error_type, json.dumps(document).encode(), cause


def _xray_cause(kind: str, message: str, frames: list[Frame]) -> str:
    stack = [{"label": name, "path": path, "line": line} for path, line, name, _ in frames]
    cause = {
        "working_directory": os.getcwd(),
        "exceptions": [{"message": message, "type": kind, "stack": stack}],
        "paths": sorted({path for path, _, _, _ in frames}),
    }
    return json.dumps(cause)


def _log(document: Mapping[str, Any], settings: RuntimeSettings) -> None:
    """One record of the log: a line of JSON, or text whose lines stay together in CloudWatch."""
    if settings.log_format == "JSON":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record, frame = json.dumps({"timestamp": now, "level": "ERROR", **document}), _FRAME_OF_JSON
    else:
        trace = [line for entry in document["stackTrace"] for line in str(entry).splitlines()]
        lines = [f"[ERROR] {document['errorType']}: {document['errorMessage']}", "Traceback (most recent call last):"]
        record, frame = "\r".join(lines + [_indented(line) for line in trace]), _FRAME_OF_TEXT
    try:
        if settings.log_descriptor:
            _write_frame(int(settings.log_descriptor), frame, record.replace("\r", "\n").encode("utf-8", "replace"))
        else:
            sys.stdout.write(record + "\n")
            sys.stdout.flush()
    except (OSError, ValueError):  # a full disk, or a closed pipe
        pass


def _indented(line: str) -> str:
    """Its indentation in spaces that CloudWatch keeps."""
    text = line.lstrip(" ")
    return "\u00a0" * (len(line) - len(text)) + text


def _write_frame(descriptor: int, kind: int, message: bytes) -> None:
    """Lambda's framing of a log: type, length, microseconds since 1970, all big-endian, then the message."""
    stamp = time.time_ns() // 1000
    os.write(descriptor, kind.to_bytes(4, "big") + len(message).to_bytes(4, "big") + stamp.to_bytes(8, "big") + message)
