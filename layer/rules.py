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
        "function/native/ort_capi.py calls the C API: the pybind module (31 MB) is a second copy of ONNX Runtime, "
        "providers_shared is for GPUs, the Python files are for numpy users",
    ),
    "pybase64": Rule(
        ("pybase64/_[!_]*.py", "pybase64/__init__.py", "pybase64/_pybase64.*.so"), "its command line is not used"
    ),
    "pillow": Rule(
        (*(f"PIL/{name}.py" for name in _PILLOW), "PIL/_imaging.*.so", "PIL/_webp.*.so", "pillow.libs/*"),
        "function/codecs/image.py reads JPEG, PNG and WebP with EXIF (whose reader is the TIFF plugin); of pillow.libs "
        "only what these two extensions need is left: no avif, freetype, harfbuzz, lcms, brotli, png",
    ),
}

_PURE = Rule(("*.py",), "stubs, command lines and metadata are not deployed")
_NATIVE = Rule(("*.py", "*.so"), "C and Cython sources and stubs are not deployed")

# What the container image has beyond that (requirements/image.txt): AWS's runtime client and the HTTP server.
RUNTIME = {
    "awslambdaric": _NATIVE,
    "simplejson": Rule(("simplejson/[!t]*.py", "simplejson/*.so"), "its tests are not deployed"),
    "snapshot-restore-py": _PURE,
    "httptools": _NATIVE,
}

# What the layer has where a model takes texts (requirements/text.txt).
TEXT = {
    "tokenizers": Rule(
        (
            "tokenizers/__init__.py",
            "tokenizers/*/__init__.py",
            "tokenizers/implementations/*.py",
            "tokenizers/tokenizers.abi3.so",
        ),
        "function/codecs/text.py reads a tokenizer.json with it; stubs and the page that shows tokens are not deployed",
    ),
}

# What it has where a model reads PostgreSQL (requirements/postgres.txt): the driver and what that imports.
POSTGRES = dict.fromkeys(("pg8000", "scramp", "asn1crypto", "python-dateutil", "six"), _PURE)

# package -> why nothing of it is deployed
LEFT_OUT = {
    "numpy": "only the onnxruntime package needs it (36 MB)",
    "protobuf": "only the onnxruntime package needs it",
    "flatbuffers": "only the onnxruntime package needs it",
    "packaging": "only the onnxruntime package needs it",
}
