"""What single modules import, each in an interpreter of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "tests" / "events"


def test_imports_stay_small() -> None:
    """A JSON tensor is decoded and answered without what a cold start cannot afford."""
    script = (
        "import sys\n"
        "from function.codecs import compression, goserve, oip_request, oip_response\n"
        "early = {'json', 'zlib', 'array', 're', 'typing'} & set(sys.modules)\n"
        "assert not early, early\n"
        "from function.tensor import Spec, Tensor\n"
        "class Model: name, version = 'm', '1'\n"
        "Model.inputs = Model.outputs = {'x': Spec('x', 'FP32', (-1, 2))}\n"
        'body = b\'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}\'\n'
        "request = oip_request.decode_infer(body, None, Model)\n"
        "oip_response.encode_infer(Model, request, {'x': Tensor('FP32', (1, 2), bytes(8))}, [])\n"
        "late = {'numpy', 'typing', 'dataclasses', 'array', 'zlib', 'asyncio'} & set(sys.modules)\n"
        "assert not late, late\n"
    )
    subprocess.run([sys.executable, "-S", "-c", script], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_what_it_imports() -> None:
    """A text event with a plain path: nothing but the standard library's built-in modules and ours."""
    code = """if True:
        import json, sys
        event = json.load(open(sys.argv[1]))
        event["rawQueryString"] = "top_k=5"
        before = set(sys.modules)
        from function.events.http_event import classify
        from function.messages import Response
        to_request, from_response = classify(event)
        to_request(event)
        from_response(event, Response(200, {"Content-Type": "application/json"}, b"{}"))
        print(*sorted(set(sys.modules) - before))
    """
    run = subprocess.run(
        [sys.executable, "-c", code, str(EVENTS / "function_url_text.json")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    modules = ("errors", "events", "events.http_event", "events.http_response", "messages", "native", "native.cjson")
    ours = ["function", *(f"function.{name}" for name in modules)]
    assert run.stdout.split() == ["__future__", *ours]


def modules_after(code: str, body: bytes = b"") -> set[str]:
    program = f"""if True:
        import sys
        before = set(sys.modules)
        from function.codecs.image import decode
        from function.tensor import ImageRule
        {code}
        print(*set(sys.modules) - before)
    """
    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, input=body, capture_output=True, check=True, cwd=ROOT)
    return set(run.stdout.decode().split())


def test_nothing_is_imported_before_a_picture_comes() -> None:
    rooms = ("exif", "image", "image_cost", "image_decoders", "image_header")
    ours = {
        "function",
        "function.codecs",
        "function.errors",
        "function.tensor",
        *(f"function.codecs.{room}" for room in rooms),
    }
    assert modules_after("") - ours <= {"__future__", "struct", "_struct"}


RULE = """
        how = ImageRule(input="", output="", size=[8, 8], mean=[], std=[], activation="", resize="stretch", resize_to=0,
                        filter="bilinear", layout="")
        decode(sys.stdin.buffer.read(), how)
"""


@pytest.mark.parametrize(
    ("kind", "unwanted"),
    [("JPEG", {"PIL.PngImagePlugin", "PIL.WebPImagePlugin"}), ("PNG", {"PIL.JpegImagePlugin", "PIL.WebPImagePlugin"})],
)
def test_only_the_format_at_hand_is_imported(kind: str, unwanted: set[str]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (60, 44)).save(file, kind)
    loaded = modules_after(RULE.strip(), file.getvalue())
    assert "PIL.Image" in loaded
    others = {"PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.ImageOps", "PIL.TiffImagePlugin", "numpy"}
    assert not loaded & (unwanted | others)


@pytest.mark.parametrize("text", ["{", "[1,", '{"a":1} x', "{'a':1}", '"\\x"', "nul", "[1]]", '{"a'])
def test_what_is_no_json_is_refused_where_json_is_not_imported_yet(text: str) -> None:
    program = """if True:
        import sys
        from function.native import cjson
        assert "json" not in sys.modules
        try:
            cjson.loads(sys.argv[1])
        except ValueError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", program, text], capture_output=True, text=True, check=True, cwd=ROOT)
    with pytest.raises(ValueError, match=r"line 1") as expected:
        json.loads(text)
    assert done.stdout.strip() == str(expected.value)
