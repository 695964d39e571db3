"""The function in a bare interpreter: argument 1 is a file with an event; prints the answer, then what was seen.

That is: when it did what, and the files of its modules. It waits for the end of standard input before it ends, so
that its memory can be looked at.
"""

import time

_up = time.monotonic_ns()

import sys  # noqa: E402  (the clock comes first)

from function.handler import handler  # noqa: E402

_imported = time.monotonic_ns()

import json  # noqa: E402  (the function has imported it)

with open(sys.argv[1], "rb") as _file:  # noqa: PTH123  (pathlib costs 4 ms)
    _event = json.loads(_file.read())
_called = time.monotonic_ns()
_answer = handler(_event, None)
_answered = time.monotonic_ns()
sys.stdout.write(f"answer {json.dumps(_answer)}\n")
sys.stdout.flush()
_specs = [_spec for _module in sys.modules.values() if (_spec := getattr(_module, "__spec__", None))]
_files = [_file for _spec in _specs for _file in (_spec.origin, _spec.cached) if _file and _spec.has_location]
print("seen", json.dumps([[_up, _imported, _called, _answered], _files]), flush=True)
sys.stdin.read()
