"""What a process gives back when nobody asks: the arena's memory, and nothing that an inference needs."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from function.engine import idle
from tests.support import run_program

# A worker of Managed Instances that has answered once; then it waits until the thread has given memory back.
WORKER = """
import os, time
os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] = "lambda-managed-instances"
from function.engine import golden, idle
idle.IDLE_S = 0.2
from function import handler
models, given = handler.APP.inference.models, []
real = idle.give_back
idle.give_back = lambda: (real(), given.append(True))
model = models.get("digits")
inputs = golden.inputs(model.metadata.inputs)
before = golden.answer(model.run(inputs))
full = int(next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Pss_Anon")).split()[1])
assert not given
for count in (1, 2):
    handler.APP.inference.idle.used()
    deadline = time.monotonic() + 60
    while len(given) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
left = int(next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Pss_Anon")).split()[1])
assert golden.answer(model.run(inputs)) == before
print(full - left)
"""


def test_an_idle_worker_gives_back_what_an_inference_needed() -> None:
    done = run_program(WORKER)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 5_000  # KB, of the 10 MB of digits' activations


def test_the_graph_that_shrinks_the_arena_is_what_it_says() -> None:
    model = onnx.load_from_string(idle._NOTHING)
    onnx.checker.check_model(model)
    (node,) = model.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("Identity", ["x"], ["y"])
    assert model.graph.input[0] == helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
