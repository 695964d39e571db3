"""A model's own processing.py: what it is given, what it may give, and what becomes of one that fails or never ends."""

from __future__ import annotations

import base64
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from function.codecs import hooks
from models.manifest import ManifestError
from tests.contract.client import Client, new_client
from tests.contract.entries.sent_models import add, prepare_here, sums

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from tests.answer import Answer

FAILED = "the model's processing.py failed; the function's log says where"
PATIENCE = 60.0  # seconds for a thread to end on a busy machine

# Each is a model: what x is, or what becomes of x2 = 2 x and total = the sum of x.
CODE = {
    "lists": "def preprocess(i): return {'x': [[i['a'], 1]]}\ndef postprocess(o): return o['x2'].tolist()",
    "numpy": "import numpy as np\n"
    "def preprocess(i): return {'x': np.asarray(i, np.float64)[None]}\n"
    "def postprocess(o): return {'least': float(np.asarray(o['x2']).min()), 'type': str(np.asarray(o['x2']).dtype)}",
    "exact": "import numpy as np\ndef preprocess(i): return {'x': np.asarray(i, np.float32)[None]}",
    "turned": "import numpy as np\ndef preprocess(i): return {'x': np.asfortranarray(np.array(i, np.float32))}",
    "after": "def postprocess(o): return [o['total'].tolist()[0], list(o['x2'].shape), o['x2'].datatype]",
    "bytes": "def preprocess(i): return {'x': [[len(i['raw']), i['raw'][0]]]}",
    "raw": "def preprocess(i):\n    assert type(i) is bytes\n    return {'x': [[len(i), i[0]]]}",
    "raises": "def preprocess(i):\n    secret = 1\n    return {'x': [[1 / 0, secret]]}",
    "import": "import no_such_package_anywhere",
    "neither": "x = 1",
    "other": "def preprocess(i): return {'z': i}",
    "number": "def preprocess(i): return 5",
    "shape": "def preprocess(i): return {'x': [[1, 2, 3]]}",
    "ragged": "def preprocess(i): return {'x': [[1, 2], [3]]}",
    "strings": "def preprocess(i): return {'x': [['a', 'b']]}",
    "set": "def postprocess(o): return {1, 2}",
    "nan": "def postprocess(o): return float('nan')",
    "deep": "def postprocess(o):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
    "exits": "import sys\ndef postprocess(o): sys.exit(3)",
    "refuses": "class TooDark(Exception):\n    status = 400\ndef preprocess(i): raise TooDark('it is too dark')",
}
LOOPS = "def postprocess(o):\n    while True:\n        pass\n"
WAITS = "import threading\nGATE = threading.Event()\ndef postprocess(o):\n    GATE.wait()\n"
SHORT = "[processing]\ntimeout_s = 0.2\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder: Path = tmp_path_factory.mktemp("hooks")
    for name, code in CODE.items():
        add(folder / name, sums(), processing=code)
    for name, code in (("loops", LOOPS), ("waits", WAITS)):
        add(folder / name, sums(), processing=code, extra=SHORT)
    return new_client(folder, "lists")


def ask(client: Client, model: str, *instances: object) -> Answer:
    return client.post(f"/v1/models/{model}:predict", {"instances": instances})


@pytest.mark.parametrize(
    ("model", "instances", "expected"),
    [
        ("lists", [{"a": 1.5}, {"a": 2}], [[[3.0, 2.0]], [[4.0, 2.0]]]),
        ("numpy", [[3, 4], [-1, 0.5]], [{"least": 6.0, "type": "float32"}, {"least": -2.0, "type": "float32"}]),
        ("exact", [[3, 4]], [{"x2": [6.0, 8.0], "total": 7.0}]),
        ("turned", [[[3, 4], [5, 6]]], [{"x2": [[6.0, 8.0], [10.0, 12.0]], "total": [7.0, 11.0]}]),
        ("after", [[3, 4], [5, 6]], [[7.0, [1, 2], "FP32"], [11.0, [1, 2], "FP32"]]),
        ("bytes", [{"raw": {"b64": base64.b64encode(b"\7ab").decode()}}], [{"x2": [6.0, 14.0], "total": 10.0}]),
    ],
)
def test_what_it_gives(client: Client, model: str, instances: list[object], expected: object) -> None:
    answer = ask(client, model, *instances)
    assert answer.status == 200, answer.body
    assert answer.json == {"predictions": expected}


@pytest.mark.parametrize("kind", ["image/png", "Audio/WAV; rate=16000", "video/mp4", "application/octet-stream"])
def test_a_body_that_is_no_json_is_one_instance(client: Client, kind: str) -> None:
    answer = client.post("/v1/models/raw:predict", b"\x07\xff{", {"Content-Type": kind})
    assert (answer.status, answer.json) == (200, {"predictions": [{"x2": [6.0, 14.0], "total": 10.0}]})
    answer = client.post("/v1/models/raw:predict", b"\x07\xff{", {"Content-Type": "application/json"})
    assert answer.status == 400


@pytest.mark.parametrize(
    ("model", "logged"),
    [
        ("raises", "processing.py: line 3, in preprocess: ZeroDivisionError: division by zero"),
        (
            "import",
            "line 1, in <module>: ModuleNotFoundError: No module named 'no_such_package_anywhere'",
        ),
        ("neither", "it has neither a function preprocess nor one called postprocess"),
        ("other", "preprocess gave z; a dict with the model's inputs is expected: x"),
        ("number", "preprocess gave a int"),
        ("shape", "preprocess gave [1, 3] for input 'x'; the model takes [-1, 2]"),
        ("ragged", "lists of different lengths"),
        ("strings", "'x': value 0 is 'a'; a number that FP32 can hold is expected"),
        ("set", "TypeError: Object of type set is not JSON serializable"),
        ("nan", "ValueError: Out of range float values are not JSON compliant"),
        ("deep", "RecursionError"),
        ("exits", "SystemExit: 3"),
    ],
)
def test_a_failure_is_in_the_log_and_not_in_the_answer(
    client: Client, capfd: pytest.CaptureFixture[str], model: str, logged: str
) -> None:
    answer = ask(client, model, [1, 2])
    assert (answer.status, answer.error) == (500, FAILED)
    said = capfd.readouterr().err
    assert logged in said
    assert f"model {model!r}" in said


def test_it_may_refuse_an_instance(client: Client) -> None:
    answer = ask(client, "refuses", [1, 2])
    assert (answer.status, answer.error) == (400, "it is too dark")


def test_what_is_refused_before_it(client: Client) -> None:
    for body, words in (
        ({"instances": []}, "'instances' is empty"),
        ({}, "it has none"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1]]}}, "dataframe_split is for models with a [table]"),
    ):
        answer = client.post("/v1/models/lists:predict", body)
        assert answer.status == 400
        assert words in answer.error


def test_a_loop_without_end_is_a_504_and_is_ended(client: Client) -> None:
    for _ in range(hooks.MOST_ABANDONED + 2):
        answer = ask(client, "loops", [1, 2])
        assert (answer.status, answer.headers.get("retry-after")) == (504, None)
        assert answer.error == "the model's processing.py did not end in time (postprocess)"
        ended(hooks._abandoned[-1])
    assert ask(client, "lists", {"a": 1}).status == 200


# While a thread is traced, CPython 3.11 begins a call anew for as long as an exception waits for another thread.
@pytest.mark.skipif(sys.gettrace() is not None, reason="Python 3.11 would not go on under coverage")
def test_calls_that_cannot_be_ended_do_not_pile_up(client: Client) -> None:
    for _ in range(hooks.MOST_ABANDONED):
        assert ask(client, "waits", [1, 2]).status == 504
    answer = ask(client, "lists", {"a": 1})
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")
    assert f"{hooks.MOST_ABANDONED} calls of processing.py did not end" in answer.error
    gates = {module.GATE for _, module in hooks._modules.values() if hasattr(module, "GATE")}
    for gate in gates:
        gate.set()
    for thread in list(hooks._abandoned):
        ended(thread)
    assert ask(client, "lists", {"a": 1}).status == 200


def ended(thread: threading.Thread) -> None:
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_lambdas_own_deadline_comes_first(client: Client) -> None:
    class Context:
        aws_request_id = "1"

        @staticmethod
        def get_remaining_time_in_millis() -> int:
            return 0

    event: dict[str, Any] = {
        "version": "2.0",
        "rawPath": "/v1/models/lists:predict",
        "rawQueryString": "",
        "headers": {},
    }
    event |= {"requestContext": {"http": {"method": "POST"}, "stage": "$default"}, "isBase64Encoded": False}
    started = time.monotonic()
    answer = client.handler(event | {"body": '{"instances": [{"a": 1}]}'}, Context())
    assert answer["statusCode"] == 504
    assert time.monotonic() - started < PATIENCE


def test_tensors_pass_it_by(client: Client) -> None:
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]
    answer = client.post("/v2/models/raises/infer", {"inputs": inputs})
    assert answer.json["outputs"][1]["data"] == [3.0]


def test_it_is_off_for_a_model_that_a_request_has_loaded(tmp_path: Path) -> None:
    add(tmp_path / "hooked", sums(), processing=CODE["after"])
    for allowed, status in (("0", 503), ("1", 200)):
        client = new_client(tmp_path, "hooked", ADMIN_KEY="sesame", ALLOW_LOADED_PROCESSING=allowed)
        assert ask(client, "hooked", [1, 2]).status == 200
        loaded = client.post("/v1/models", {"name": "hooked", "path": "hooked"}, {"X-Admin-Key": "sesame"})
        assert loaded.status == 201
        answer = ask(client, "hooked", [1, 2])
        assert answer.status == status
        assert status == 200 or "ALLOW_LOADED_PROCESSING=1" in answer.error


def test_a_new_processing_py_takes_effect_when_the_model_is_prepared(tmp_path: Path) -> None:
    folder = add(tmp_path / "hooked", sums(), processing="def postprocess(o): return 1")
    assert ask(new_client(tmp_path, "hooked"), "hooked", [1, 2]).json == {"predictions": [1]}
    (folder / "processing.py").write_text("def postprocess(o): return 2")
    prepare_here(folder)
    assert ask(new_client(tmp_path, "hooked"), "hooked", [1, 2]).json == {"predictions": [2]}


NAMES = """from pathlib import Path
NAMES = Path(__file__).with_name("names.txt").read_text().split()
def postprocess(o): return NAMES[int(o["total"].tolist()[0])]
"""
FILES = '[processing]\nfiles = ["names.txt"]\n'


def test_files_that_it_reads_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "names.txt").write_text("none one two three")
    folder = add(tmp_path / "named", sums(), processing=NAMES, extra=FILES)
    assert ask(new_client(tmp_path, "named"), "named", [1, 2]).json == {"predictions": ["three"]}
    (folder / "names.txt").write_text("zero one two drei")
    prepare_here(folder)
    assert ask(new_client(tmp_path, "named"), "named", [1, 2]).json == {"predictions": ["drei"]}
    (folder / "names.txt").unlink()
    with pytest.raises(ManifestError, match=r"\[processing\] files: .*names.txt is missing; put it there"):
        prepare_here(folder)


@pytest.mark.parametrize("name", ["../names.txt", ".names.txt", "portable", "model.json", ""])
def test_files_are_of_the_models_own_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match=r"\[processing\] files has .*; files of this folder are expected"):
        add(tmp_path / "named", sums(), processing=NAMES, extra=FILES.replace("names.txt", name))


def test_processing_without_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"\[processing\] is there, and .*processing.py is not"):
        add(tmp_path / "hooked", sums(), extra="[processing]\ntimeout_s = 1\n")
    with pytest.raises(ManifestError, match="timeout_s is 0"):
        add(tmp_path / "zero", sums(), extra="[processing]\ntimeout_s = 0\n", processing="x = 1")
