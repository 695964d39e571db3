"""function.zip and the layer, unpacked as on Lambda and run by the real emulator with nothing else to import."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from function.codecs.image import decode
from function.tensor import ImageRule
from infra.emulator import Emulator
from infra.front import FunctionUrl
from layer import package, unpack
from models.digits_data import held_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layer.unpack import Packaged

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    return unpack.unpack(tmp_path_factory.mktemp("lambda"))


@pytest.fixture(scope="module")
def url(packaged: Packaged) -> Iterator[str]:
    emulator = Emulator(cwd=packaged.cwd, env=packaged.env, command=packaged.command())
    with emulator, FunctionUrl(emulator) as url:
        yield url.url


def ask(packaged: Packaged, script: str) -> Any:
    """What `script` prints as JSON, run by the packaged interpreter."""
    command = [packaged.python, "-c", script]
    done = subprocess.run(command, cwd=packaged.cwd, env=packaged.env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_nothing_of_this_environment_can_be_imported(packaged: Packaged) -> None:
    names = [
        "numpy",
        "onnxruntime.capi.onnxruntime_pybind11_state",
        "pip",
        "pytest",
        "uvicorn",
        "models.prepare",
    ]
    script = f"""
import importlib, json
found = []
for name in {names}:
    try:
        importlib.import_module(name)
        found.append(name)
    except ImportError:
        pass
print(json.dumps(found))
"""
    assert ask(packaged, script) == []


def test_every_module_has_byte_code_and_its_place_on_lambda(packaged: Packaged) -> None:
    """An import that compiles would write __pycache__, which Lambda's file system refuses, at each cold start."""
    script = """
import json, marshal, sys
import function.handler, function.codecs.image, PIL.JpegImagePlugin, PIL.WebPImagePlugin, pybase64
roots = ("function", "PIL", "pybase64")
modules = [m for name, m in sys.modules.items() if name.partition(".")[0] in roots]
python = [m for m in modules if (m.__file__ or "").endswith(".py")]
files = [open(m.__cached__, "rb").read() for m in python]
print(json.dumps({
    "flags": [int.from_bytes(content[4:8], "little") for content in files],
    "places": [marshal.loads(content[16:]).co_filename for content in files],
}))
"""
    answer = ask(packaged, script)
    assert set(answer["flags"]) == {1}  # hash-based, not checked: PEP 552
    assert len(answer["places"]) > 30
    assert all(place.startswith(("/var/task/function/", "/opt/python/")) for place in answer["places"])


def test_held_out_digits_are_classified(url: str) -> None:
    contents, labels = held_out()
    for digit in range(10):
        with urllib.request.urlopen(f"{url}/classify", contents[labels.index(digit)]) as response:
            assert json.load(response)["predictions"][0]["label"] == str(digit)
            assert "infer" in response.headers["Server-Timing"]


PICTURES = [
    *(("JPEG", mode) for mode in ("RGB", "CMYK", "L")),
    *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "I;16", "1")),
    *(("WEBP", mode) for mode in ("RGB", "RGBA", "L")),
]
RULE: dict[str, Any] = {
    "input": "input",
    "output": "output",
    "size": [24, 32],
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "activation": "softmax",
    "resize": "stretch",
    "resize_to": 0,
    "filter": "bilinear",
    "layout": "NCHW",
}


@pytest.mark.parametrize(("kind", "mode"), PICTURES)
def test_pictures_of_every_kind_are_read_by_the_slim_pillow(packaged: Packaged, kind: str, mode: str) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.linear_gradient("L").resize((40, 30)).convert(mode).save(file, kind, exif=exif)
    script = f"""
import base64, json
from function.codecs.image import decode
from function.tensor import ImageRule
tensor = decode(base64.b64decode({base64.b64encode(file.getvalue())!r}), ImageRule(**{RULE}))
print(json.dumps({{"shape": tensor.shape, "pixels": list(tensor.data)}}))
"""
    answer = ask(packaged, script)
    expected = decode(file.getvalue(), ImageRule(**RULE)).data
    assert isinstance(expected, bytes)
    assert answer == {"shape": [1, 24, 32, 3], "pixels": list(expected)}


def test_a_second_build_has_the_same_bytes(packaged: Packaged, tmp_path: Path) -> None:
    first = packaged.cwd.parents[1] / "dist"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    layer = next(first.glob("layer-*.zip"))
    package.build(tmp_path, ["digits"], version, [layer.stem.removeprefix("layer-")])
    for path in sorted(first.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_sizes_stay_small(packaged: Packaged) -> None:
    prefix = packaged.cwd.parents[1]
    assert (prefix / "dist" / "function.zip").stat().st_size <= 15_000_000
    assert sum(path.stat().st_size for path in (prefix / "opt").rglob("*") if path.is_file()) <= 60_000_000


def test_the_wrapper_runs_lambdas_own_command_where_that_is_asked_for(packaged: Packaged) -> None:
    environ = packaged.env | {"RUNTIME_CLIENT": "awslambdaric", "_HANDLER": "function.handler.handler"}
    command = [packaged.wrapper, packaged.python, "-c", "print('AWS')"]
    done = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "AWS\n"
