"""Weights that others cut short while they serve, and memory that is not to be had: an answer, not a dead process."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from function.native import ort_capi
from function.native.ort_capi import OrtError, OrtMemoryError
from tests import support
from tests.support import run_program

if TYPE_CHECKING:
    from pathlib import Path

# Loads the model, has its weights cut to nothing by another program, and asks it again.
CUT = """
import glob, os, subprocess, sys
from function.engine import golden
from function.engine.registry import Models
from function.settings import Settings
models = Models(Settings(os.environ))
model = models.get(sys.argv[1])
inputs = golden.inputs(model.metadata.inputs)
before = golden.answer(model.run(inputs))
weights = glob.glob(f"{os.environ['MODEL_REPOSITORY']}/{sys.argv[1]}/prepared/*/weights.bin")
subprocess.run(["truncate", "--size=0", *weights], check=True)
for _ in range(3):
    assert golden.answer(model.run(inputs)) == before
print("right")
"""

# Asks by way of the core, with what is left of the address space limited: argv = model, bytes left, elements, and
# what is done before: ask with so many elements, or load ORT's library, or initialise it too.
ASK = """
import json, os, resource, sys
from function.app import App
from function.exchange import Exchange
from function.messages import Request
from function.settings import Settings
app = App(Settings(os.environ))
from function.codecs import json_body
from function.native import ort_capi
model, left, sizes, before = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]

def ask(count):
    head = json.dumps({
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [count], "parameters": {"binary_data_size": 4 * count}}
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = app.respond(Exchange(Request("POST", f"/v2/models/{model}/infer", {}, headers, head + bytes(4 * count))))
    print(json.dumps([answer.status, "" if answer.status == 200 else json.loads(answer.body)["error"]]))

if before == "asked":
    ask(sizes.pop(0))
elif before:
    json_body.parse(b"{}")
    getattr(ort_capi, before)()
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + left, resource.RLIM_INFINITY))
for size in sizes:
    ask(size)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ask(sizes[-1])
"""

# A refused request that was held, with the exchange still there as for a client that takes its time to read.
REFUSED = """
import gzip, os, sys
from function.app import App
from function.exchange import Exchange
from function.limits import LIMITS
from function.messages import Request
from function.settings import Settings
app = App(Settings(os.environ))
body = b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": [' + b"0," * 1_000_000 + b"0]}]}"
for headers, sent in (({}, body), ({"content-encoding": "gzip"}, gzip.compress(body))):
    exchange = Exchange(Request("POST", "/v2/models/tiny/infer", {}, headers, sent))
    answer = app.respond(exchange)
    free = LIMITS.budget.take(LIMITS.budget.capacity, 0) and LIMITS.copies.take(LIMITS.copies.capacity, 0)
    print(answer.status, len(exchange.request.body), answer.error.__traceback__, free)
    LIMITS.budget.give_back(LIMITS.budget.capacity)
    LIMITS.copies.give_back(LIMITS.copies.capacity)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` has weights; `wide` takes 64 times its input's memory, and its input has any length."""
    folder = tmp_path_factory.mktemp("models")
    support.prepare_natively(support.write_folder(folder / "tiny", support.classifier()))
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["column"]),
        helper.make_node("Expand", ["column", "shape"], ["copies"]),
        helper.make_node("ReduceSum", ["copies", "last"], ["y"], keepdims=0),
    ]
    constants = {"last": np.array([1], np.int64), "shape": np.array([1, 64], np.int64)}
    values = [("x", TensorProto.FLOAT, ["n"])], [("y", TensorProto.FLOAT, ["n"])]
    support.prepare_natively(support.write_folder(folder / "wide", support.make_model(nodes, *values, constants)))
    return folder


def test_weights_in_memory_outlive_their_file(repository: Path, tmp_path: Path) -> None:
    copied = tmp_path / "models"
    shutil.copytree(repository, copied)
    done = run_program(CUT, "tiny", MODEL_REPOSITORY=str(copied), MAP_WEIGHTS="0")
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


def test_mapped_weights_do_not(repository: Path, tmp_path: Path) -> None:
    """What the setting is for, as docs/operations.md tells it: there is no way to catch this in the process."""
    copied = tmp_path / "models"
    shutil.copytree(repository, copied)
    assert run_program(CUT, "tiny", MODEL_REPOSITORY=str(copied)).returncode == -signal.SIGBUS


def test_a_refused_request_keeps_no_memory(repository: Path) -> None:
    done = run_program(REFUSED, MODEL_REPOSITORY=str(repository), MEMORY_LIMIT_BYTES=str(512 << 20))
    assert done.stdout == "400 0 None True\n" * 2, done.stderr


@pytest.mark.parametrize("verify", ["0", "1"])
def test_weights_in_memory_answer_the_same(repository: Path, verify: str) -> None:
    program = (
        "import os\n"
        "from function.engine import golden\n"
        "from function.engine.registry import Models\n"
        "from function.settings import Settings\n"
        "model = Models(Settings(os.environ)).get('tiny')\n"
        "print(golden.answer(model.run(golden.inputs(model.metadata.inputs))))\n"
        "print(sum('weights.bin' in line for line in open('/proc/self/maps')))\n"
    )
    (mapped, files), (read, none) = (
        run_program(
            program, MODEL_REPOSITORY=str(repository), MAP_WEIGHTS=how, VERIFY_ARTIFACTS=verify
        ).stdout.splitlines()
        for how in "10"
    )
    assert mapped == read
    assert int(files) > 0
    assert int(none) == 0


def asked(repository: Path, left: int, sizes: list[int], before: str) -> list[tuple[int, str]]:
    """Status and error of each answer, the last one with the limit taken away again."""
    program = ["wide", str(left), json.dumps(sizes), before]
    done = run_program(ASK, *program, MODEL_REPOSITORY=str(repository), INTRA_OP_THREADS="1")
    assert done.returncode == 0, done.stderr[-2000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_an_allocation_that_ort_cannot_have_is_a_503_and_the_next_request_is_answered(repository: Path) -> None:
    """256 MB for an input of 4 MB, in 100 MB."""
    first, large, small, again = asked(repository, 100 << 20, [4, 1_000_000, 4], "asked")
    assert first == small == again == (200, "")
    assert large == (503, "not enough memory for this request; send a smaller one")


@pytest.mark.parametrize(
    ("before", "left"), [("", 1 << 20), ("", 12 << 20), ("get_library", 20 << 20)], ids=["thread", "library", "session"]
)
def test_a_model_that_cannot_be_loaded_for_lack_of_memory_says_so_and_loads_later(
    repository: Path, before: str, left: int
) -> None:
    """No room for a thread, for ORT's library, for the session."""
    refused, later = asked(repository, left, [4], before)
    assert refused[0] == 503
    assert "not enough memory" in refused[1]
    assert "models.prepare" not in refused[1]
    assert "install" not in refused[1]
    assert later == (200, "")


def test_a_library_whose_initialisation_failed_is_replaced(repository: Path) -> None:
    """What a failure leaves in ORT's library makes each later one fail: "the domain is already exist"."""
    program = (
        "import os\n"
        "from function.engine.registry import Models\n"
        "from function.errors import PredictError\n"
        "from function.native import ort_capi\n"
        "from function.settings import Settings\n"
        "first = ort_capi.load_library()\n"
        "def fail(*_): raise ort_capi.OrtMemoryError(6, 'std::bad_alloc')\n"
        "first.CreateEnv = fail\n"
        "models = Models(Settings(os.environ))\n"
        "try: models.get('tiny')\n"
        "except PredictError as error: print(error.code, error.message)\n"
        "print(models.get('tiny').artifact.family, ort_capi.get_library() is first)\n"
    )
    done = run_program(program, MODEL_REPOSITORY=str(repository))
    assert done.returncode == 0, done.stderr
    refused, loaded = done.stdout.splitlines()
    assert refused.startswith("UNAVAILABLE model 'tiny' cannot be loaded: not enough memory (std::bad_alloc)")
    assert loaded.endswith(" False")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("std::bad_alloc", OrtMemoryError),
        ("bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 1024", OrtMemoryError),
        ("open file weights.bin fail, errcode = 12 - Cannot allocate memory", OrtMemoryError),
        ("Got invalid dimensions for input: x", OrtError),
    ],
)
def test_what_ort_says_of_memory_is_told_from_what_it_says_of_the_input(message: str, kind: type[OrtError]) -> None:
    error = ort_capi._error(6, message)
    assert type(error) is kind
    assert (error.code, str(error)) == (6, message)
    assert isinstance(error, MemoryError) == (kind is OrtMemoryError)
