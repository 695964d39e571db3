"""yyjson's C functions and structures, from the extension module of the yyjson package; loaded on first need."""

from __future__ import annotations

import os
import sys
from ctypes import CDLL, CFUNCTYPE, POINTER, Structure, c_char_p, c_size_t, c_uint32, c_void_p

from function.errors import PredictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INSTALL = "pip install --force-reinstall -r requirements/function.txt"
PADDING = 4  # YYJSON_PADDING_SIZE: zeros that must follow a text that is read in place
READ_IN_PLACE = 1  # YYJSON_READ_INSITU
ERROR_MEMORY = 2  # YYJSON_READ_ERROR_MEMORY_ALLOCATION
FREE = CFUNCTYPE(None, c_void_p, c_void_p)


class ReadError(Structure):
    """yyjson_read_err."""

    _fields_ = (("code", c_uint32), ("message", c_char_p), ("position", c_size_t))


class Doc(Structure):
    """yyjson_doc, with its yyjson_alc."""

    _fields_ = (
        ("root", c_void_p),
        ("malloc", c_void_p),
        ("realloc", c_void_p),
        ("free", c_void_p),
        ("context", c_void_p),
        ("bytes_read", c_size_t),
        ("values_read", c_size_t),
        ("strings", c_void_p),
    )


def load_reader() -> Any:
    """yyjson_read_opts; PredictError UNAVAILABLE when the package is not there."""
    function = CDLL(_find()).yyjson_read_opts
    function.restype, function.argtypes = c_void_p, (c_void_p, c_size_t, c_uint32, c_void_p, POINTER(ReadError))
    return function


def _find() -> str:
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("cyyjson.") and name.endswith(".so"):
                return os.path.join(folder or ".", name)
    raise PredictError("UNAVAILABLE", f"yyjson was not found on sys.path; install it: {_INSTALL}")


def wrong_version() -> PredictError:
    """The refusal of a yyjson whose values lie otherwise than `native.yyjson` reads them."""
    return PredictError("UNAVAILABLE", f"the installed yyjson is of another version; install it anew: {_INSTALL}")
