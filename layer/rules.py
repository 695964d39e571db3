"""What of each dependency is deployed, and why the rest is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """`keep`: fnmatch patterns of paths in the wheel (`*` crosses folders); all else is dropped because of `why`."""

    keep: tuple[str, ...]
    why: str


# Licences have to travel with what they cover.
LICENCES = ("*.dist-info/licenses/*", "*.dist-info/LICENSE*", "*.dist-info/NOTICE*")

_PILLOW = [
    "__init__",
    "_binary",
    "_deprecate",
    "_util",
    "_version",
    "ExifTags",
    "GimpGradientFile",
    "GimpPaletteFile",
    "Image",
    "ImageChops",
    "ImageColor",
    "ImageFile",
    "ImageMode",
    "ImageOps",
    "ImagePalette",
    "ImageSequence",
    "JpegImagePlugin",
    "JpegPresets",
    "PaletteFile",
    "PngImagePlugin",
    "TiffImagePlugin",
    "TiffTags",
    "WebPImagePlugin",
]

# What `function/` imports; the keys are names in requirements/function.txt.
FUNCTION = {
    "onnxruntime": Rule(
        ("onnxruntime/capi/libonnxruntime.so.*", "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"),
        "function/ort_api.py calls the C API: the pybind module (31 MB) is a second copy of ONNX Runtime, "
        "providers_shared is for GPUs, the Python files are for numpy users",
    ),
    "pysimdjson": Rule(
        ("csimdjson.*.so",),
        "the extension is imported by its own name; the package simdjson around it holds its C++ source (8 MB)",
    ),
    "pybase64": Rule(
        ("pybase64/_[!_]*.py", "pybase64/__init__.py", "pybase64/_pybase64.*.so"), "its command line is not used"
    ),
    "pillow": Rule(
        (*(f"PIL/{name}.py" for name in _PILLOW), "PIL/_imaging.*.so", "PIL/_webp.*.so", "pillow.libs/*"),
        "function/image.py reads JPEG, PNG and WebP with EXIF (whose reader is the TIFF plugin); of pillow.libs "
        "only what these two extensions need is left: no avif, freetype, harfbuzz, lcms, brotli, png",
    ),
}

_PYTHON = ("*.py", "*.so")

# What the container image has beyond that (requirements/image.txt): AWS's runtime client, the HTTP server.
RUNTIME = {
    "awslambdaric": Rule(("awslambdaric/*.py", "*.so", "*.libs/*"), "built files only"),
    "simplejson": Rule(("simplejson/[!t]*.py", "simplejson/*.so"), "its tests are not deployed"),
    "snapshot-restore-py": Rule(_PYTHON, "built files only"),
    "starlette": Rule(_PYTHON, "built files only"),
    "anyio": Rule(_PYTHON, "built files only"),
    "idna": Rule(_PYTHON, "built files only"),
    "typing-extensions": Rule(_PYTHON, "built files only"),
    "uvicorn": Rule(_PYTHON, "built files only"),
    "click": Rule(_PYTHON, "built files only"),
    "h11": Rule(("h11/[!t]*.py", "h11/__init__.py"), "its tests are not deployed"),
    "httptools": Rule(_PYTHON, "the C and Cython sources are not deployed"),
    "uvloop": Rule(("uvloop/[!_]*.py", "uvloop/__init__.py", "uvloop/_*.py", "uvloop/*.so"), "Cython sources, tests"),
}

# package -> why nothing of it is deployed
LEFT_OUT = {
    "numpy": "only the onnxruntime package needs it (36 MB)",
    "protobuf": "only the onnxruntime package needs it",
    "flatbuffers": "only the onnxruntime package needs it",
    "packaging": "only the onnxruntime package needs it",
    "mangum": "the alternative entry is for who builds a Lambda of their own around the ASGI app",
    "colorama": "for Windows",
    "cffi": "for Windows",
    "pycparser": "for Windows",
}
