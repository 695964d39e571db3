"""One worker process of the function: argument 1 is a file with an event; prints the answer, lets go of both, waits."""

import json
import sys

from function.handler import handler


def answer(path: str) -> None:
    """As a runtime does it: nothing of the event is left after this."""
    with open(path, "rb") as file:  # noqa: PTH123  (pathlib costs memory too)
        event = json.loads(file.read())
    print("answer", json.dumps(handler(event, None)), flush=True)  # after the function's own line of log


answer(sys.argv[1])
sys.stdin.read()  # its memory is looked at until its input ends
