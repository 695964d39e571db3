"""The floor of a cold start in Python: map the artifact, read raw FP32 from a file, run once, print the scores.

Arguments: the project, the folder of packages, graph, optimisation level, threads, tensor file, its name, its shape.
No request, no checks, no site module: `python -I -S`. Prints scores, then when it did what; waits for end of input.
"""

import time

_up = time.monotonic_ns()

import sys  # noqa: E402  (the clock comes first)

_project, _packages, _graph, _level, _threads, _input, _name, _shape = sys.argv[1:]
sys.path += [_project, _packages]

from function.engine.session import Session  # noqa: E402
from function.tensor import Tensor  # noqa: E402

_imported = time.monotonic_ns()
_session = Session(_graph, optimise=int(_level), threads=int(_threads))
_loaded = time.monotonic_ns()
with open(_input, "rb") as _file:  # noqa: PTH123  (pathlib costs 4 ms)
    _data = _file.read()
_called = time.monotonic_ns()
_outputs = _session.run({_name: Tensor("FP32", tuple(map(int, _shape.split(","))), _data)})
_ran = time.monotonic_ns()
(_scores,) = _outputs.values()
print("answer", list(_scores.numbers()), flush=True)
print("seen", [_up, _imported, _loaded, _called, _ran], flush=True)
sys.stdin.read()
