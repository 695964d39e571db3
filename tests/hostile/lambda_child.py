"""The Lambda handler in a process of its own, fed by a pipe: each event and each answer is JSON after its length.

    python -m tests.hostile.lambda_child < events > answers

A length is a little-endian u32. An answer is {"result": what the handler returned}, {"bytes": its bytes as Latin-1} or
{"raised": class, "trace": text}. The handler's own log goes nowhere.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import traceback
from typing import Any

DEEP = 20_000  # Lambda's own JSON decoder has no limit that we know of: the handler's is what is tested


class Context:
    """What Lambda's runtime hands over, as far as anyone reads it."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"
    function_name = "attacked"
    memory_limit_in_mb = "1769"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:attacked"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def parsed(text: str) -> Any:
    """The event in `text`, however deep it is."""
    try:
        return json.loads(text)
    except RecursionError:  # Python 3.12 and 3.13 bound the depth of json's C code: here is the same in Python
        decoder: Any = json.JSONDecoder()
        decoder.parse_object, decoder.parse_string = json.decoder.JSONObject, json.decoder.py_scanstring  # type: ignore[attr-defined]
        return json.scanner.py_make_scanner(decoder)(text, 0)[0]  # type: ignore[attr-defined]


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    from function.handler import handler

    usual = sys.getrecursionlimit()
    while head := sys.stdin.buffer.read(4):
        sys.setrecursionlimit(DEEP)
        event = parsed(sys.stdin.buffer.read(struct.unpack("<I", head)[0]).decode())
        sys.setrecursionlimit(usual)
        answer: dict[str, Any]
        try:
            result = handler(event, Context())
            answer = {"bytes": result.decode("latin-1")} if isinstance(result, bytes) else {"result": result}
            data = json.dumps(answer).encode()
        except Exception as error:  # noqa: BLE001  (every exception is a finding)
            trace = "".join(traceback.format_exception(error))[-3000:]
            data = json.dumps({"raised": type(error).__name__, "trace": trace}).encode()
        answers.write(struct.pack("<I", len(data)) + data)
        answers.flush()


if __name__ == "__main__":
    main()
