"""The address of any Python buffer: CPython's Py_buffer by ctypes, for C libraries that are called without numpy."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_ssize_t, c_void_p

TYPE_CHECKING = False


class Borrowed(ctypes.Structure):
    """A contiguous buffer's address `buf` and length `len` in bytes, valid until `give_back`."""

    _fields_ = (
        ("buf", c_void_p),
        ("obj", c_void_p),
        ("len", c_ssize_t),
        ("itemsize", c_ssize_t),
        ("readonly", c_int),
        ("ndim", c_int),
        ("format", c_char_p),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("suboffsets", c_void_p),
        ("internal", c_void_p),
    )

    if TYPE_CHECKING:
        buf: int
        len: int


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, POINTER(Borrowed), c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (POINTER(Borrowed),)


def borrow(data: object) -> Borrowed:
    """`data` cannot be resized or freed until `give_back`.

    TypeError when it is no buffer, BufferError when it is not contiguous.
    """
    view = Borrowed()
    _get_buffer(data, byref(view), 0)  # PyBUF_SIMPLE
    return view


def give_back(view: Borrowed) -> None:
    """Ends what `borrow` began."""
    _release_buffer(byref(view))
