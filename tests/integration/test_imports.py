"""What a cold request imports: each module costs milliseconds that somebody waits for."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]

# These cost 30 to 150 ms each, or are for other entries.
HEAVY = {"PIL", "asyncio", "boto3", "botocore", "mangum", "numpy", "onnxruntime", "uvicorn"}

# Everything that a cold request with a JSON tensor imports by name; what these import in turn is theirs.
# A new line here is a new cost for every cold start: measure it (python -X importtime) and say what it buys.
HOT = {
    "__future__": "0.1 ms: annotations that are not evaluated, so that no type is imported",
    "ctypes": "2 ms: for malloc, the JSON reader, and ORT, whose Python package costs 35 ms and numpy's 100 more",
    "gc": "built in: no collection before the second request saves 3 ms",
    "_json": "0.1 ms: the C half of json, whose Python half costs 4",
    "mmap": "0.2 ms: the weights' CRC-32 without a copy",
    "struct": "0.2 ms: the range check of FP32",
    "threading": "0.5 ms: locks, so that a model is loaded once",
    "zlib": "0.1 ms: CRC-32 of the metadata and the weights",
}
# The same for a picture. Pillow brings most of what else is loaded.
HOT_PICTURE = {
    "__future__": "as above",
    "PIL.PngImagePlugin": "26 ms; one format's reader instead of PIL.Image.open, which imports five",
    "ctypes": "as above",
    "gc": "as above",
    "_json": "as above",
    "mmap": "as above",
    "pybase64": "1 ms: decodes an event's body nine times as fast as the standard library",
    "struct": "as above",
    "threading": "as above",
    "zlib": "as above",
}
HOT_HEALTH = {name: HOT[name] for name in ("__future__", "ctypes", "gc", "_json", "struct", "threading", "zlib")}

# Of our own modules, what a fresh interpreter has after a JSON tensor: all of them, packages too. Each costs 0.05 to
# 0.2 ms of every cold start, and what it imports in turn.
OURS = {
    "": "app concurrency errors exchange handler inference limits messages settings tensor",
    "codecs": "compression goserve json_body json_reader json_tensor oip_inputs oip_parameters oip_request "
    "oip_response raw_tensor",
    "engine": "artifact model registry repository session",
    "events": "direct http_event http_response",
    "native": "buffer cjson cpu json_kernel json_values malloc ort_capi",
    "observability": "telemetry",
    "routes": "goserve oip service table",
}

# Runs in a fresh, isolated interpreter: argument 1 is the project, 2 the modules to import beforehand; an event comes
# by standard input, "null" for none.
PROBE = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
event, answer = json.load(sys.stdin), None
if event is not None:
    from function.handler import handler
    answer = handler(event, None)
with open("/proc/self/maps") as maps:
    mapped = maps.read()
loaded = {"ort_loaded": "libonnxruntime" in mapped, "parser_loaded": "native/json-" in mapped}
print(json.dumps({"answer": answer, "modules": sorted(sys.modules), **loaded}))
"""


def probe(event: dict[str, Any] | None, *, before: list[str] | None = None, **environ: str) -> dict[str, Any]:
    command = [sys.executable, "-I", "-c", PROBE, str(ROOT), json.dumps(before or [])]
    done = subprocess.run(
        command, input=json.dumps(event), env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # after the function's own line of log
    if event is not None:
        assert found["answer"]["statusCode"] == 200, found["answer"]["body"]
    return found


def function_url_event(method: str, path: str, body: bytes = b"", *, as_base64: bool = False) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": base64.b64encode(body).decode() if as_base64 else body.decode(),
        "isBase64Encoded": as_base64,
    }


def after_a_tensor(*, before: list[str] | None = None) -> dict[str, Any]:
    plane = [[0.5] * 224] * 224
    request = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": [[plane] * 3]}]}
    return probe(function_url_event("POST", "/v2/models/digits/infer", json.dumps(request).encode()), before=before)


@pytest.fixture(scope="module")
def tensor(digits_prepared: Path) -> dict[str, Any]:
    return after_a_tensor()


@pytest.fixture(scope="module")
def picture(digits_prepared: Path) -> dict[str, Any]:
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, "PNG")
    return probe(function_url_event("POST", "/classify", png.getvalue(), as_base64=True))


@pytest.fixture(scope="module")
def health() -> dict[str, Any]:
    return probe(function_url_event("GET", "/health"), LOAD_IN_INIT="0")


def beyond(found: dict[str, Any], known: dict[str, str]) -> set[str]:
    """The modules that `found` has and neither the function itself nor an interpreter that imports `known`."""
    expected = set(probe(None, before=list(known))["modules"])
    return {name for name in found["modules"] if name.partition(".")[0] != "function"} - expected


def test_a_json_tensor_needs_no_heavy_module(tensor: dict[str, Any]) -> None:
    assert "predictions" not in tensor["answer"]["body"]
    assert json.loads(tensor["answer"]["body"])["outputs"][0]["shape"] == [1, 10]
    assert HEAVY.isdisjoint(tensor["modules"])
    assert tensor["ort_loaded"]
    assert tensor["parser_loaded"]


def test_a_picture_needs_pillow_and_no_other_heavy_module(picture: dict[str, Any]) -> None:
    assert "predictions" in picture["answer"]["body"]
    assert HEAVY.intersection(picture["modules"]) == {"PIL"}


def test_health_loads_neither_ort_nor_the_parser(health: dict[str, Any]) -> None:
    assert HEAVY.isdisjoint(health["modules"])
    assert not health["ort_loaded"]
    assert not health["parser_loaded"]


def test_the_list_of_hot_modules_is_complete(
    tensor: dict[str, Any], picture: dict[str, Any], health: dict[str, Any]
) -> None:
    assert beyond(tensor, HOT) == set()
    assert beyond(picture, HOT_PICTURE) == set()
    assert beyond(health, HOT_HEALTH) == set()


def test_the_list_of_hot_modules_has_no_module_too_many(
    tensor: dict[str, Any], picture: dict[str, Any], health: dict[str, Any]
) -> None:
    assert set(HOT) <= set(tensor["modules"])
    assert set(HOT_PICTURE) <= set(picture["modules"])
    assert set(HOT_HEALTH) <= set(health["modules"])


def unlisted(found: dict[str, Any]) -> set[str]:
    """The modules of function/ that are loaded and not in OURS, and those of OURS that are not loaded."""
    packages = {f"function.{room}".strip(".") for room in OURS}
    listed = {f"function.{room}.{name}".replace("..", ".") for room, names in OURS.items() for name in names.split()}
    loaded = {name for name in found["modules"] if name.partition(".")[0] == "function"}
    return loaded ^ (packages | listed)


def test_a_tensor_pays_for_our_modules_that_it_needs_alone(tensor: dict[str, Any]) -> None:
    assert unlisted(tensor) == set()


@pytest.mark.parametrize(
    "eager", ["codecs.image", "codecs.multipart", "engine.golden", "routes.admin", "routes.classify", "routes.openapi"]
)
def test_the_list_of_our_modules_notices_an_eager_import(digits_prepared: Path, eager: str) -> None:
    assert f"function.{eager}" in unlisted(after_a_tensor(before=[f"function.{eager}"]))


# What a server imports before it answers: none of these, for 2 to 70 ms each.
NOT_AT_START = {
    "argparse",
    "email",
    "http.client",
    "multiprocessing",
    "numpy",
    "onnxruntime",
    "random",
    "ssl",
    "tempfile",
    "urllib.parse",
    "uvicorn",
    "uvloop",
}
SERVER_PROBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from function.server import __main__ as server
server.import_serving()
modules = sorted(sys.modules)
import http.client, ssl
assert http.client.HTTPSConnection and ssl.SSLContext
print(json.dumps(modules))
"""


def test_a_server_starts_with_little_and_can_still_speak_tls() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", SERVER_PROBE, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout))
    assert modules & NOT_AT_START == set()
    assert {"asyncio", "httptools", "function.app"} <= modules


def test_the_runtime_client_asks_for_an_event_before_it_imports_much() -> None:
    modules = set(probe(None, before=["function.bootstrap"])["modules"]) - set(probe(None)["modules"])
    assert {name for name in modules if name.partition(".")[0] != "function"} <= {"__future__", "_socket"}
    assert "function.handler" not in modules


def test_neither_a_tensor_nor_health_needs_re(digits_prepared: Path) -> None:
    # `json` brings `re` and `enum`, and PROBE brings `json`; so this one goes without.
    program = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from function.events import event_text
from function.handler import handler
NUMBERS = b",".join([b"0.5"] * 150528)
TENSOR = b'{"inputs":[{"name":"input","datatype":"FP32","shape":[1,3,224,224],"data":[%s]}]}' % NUMBERS
for path, body in (("/health", b""), ("/v2/models/digits/infer", TENSOR)):
    event = b'{"rawPath":"%s","requestContext":{"http":{"method":"%s"}},"body":"%s"}'
    method = b"POST" if body else b"GET"
    text = event % (path.encode(), method, body.replace(b'"', b'\\\\"'))
    answer = handler(event_text.loads(bytearray(text)), None)
    print(answer["statusCode"], answer["body"][:80] if answer["statusCode"] != 200 else "")
print("modules", {"enum", "json", "logging", "re", "traceback", "typing"} & set(sys.modules))
"""
    path = f"{ROOT}:{':'.join(each for each in sys.path if each.endswith('-packages'))}"
    command = [sys.executable, "-S", "-I", "-c", program, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.strip() for line in done.stdout.splitlines() if not line.startswith("{")]
    assert lines == ["200", "200", "modules set()"]
