"""The JSON reader in C (native/json.c), by ctypes with the GIL free: 3.1 MB, 150,528 numbers, to FP32 in 1.6 ms."""

from __future__ import annotations

import ctypes
import os
import struct
from ctypes import POINTER, byref, c_char, c_int, c_int64, c_size_t, c_uint64, c_void_p

from function.native.buffer import borrow, give_back
from function.native.json_values import Document, JsonError, TooManyValuesError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_FULL, _VALUES_ONLY = -1, -1


class _Result(ctypes.Structure):
    _fields_ = (("status", c_int64), ("position", c_uint64), ("values", c_uint64), ("floats", c_uint64))


class Kernel:
    """The loaded library; OSError when there is none for this machine, AttributeError when it is of another version."""

    # Tried one after the other: the room for values (None: all), and the bytes that each value may need until it is a
    # tensor. Numbers alone are FP32 and perhaps a wider datatype, all else is values and Python objects too.
    attempts = ((4096, 12), (None, 32))

    def __init__(self) -> None:
        name = f"json-{os.uname().machine}.so"
        library = ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), name))
        self._read, self._count = library.zs_read, library.zs_count
        self._number, self._convert = library.zs_number, library.zs_convert
        text = (c_void_p, c_size_t)
        self._read.restype = self._number.restype = None
        self._read.argtypes = (*text, c_void_p, c_size_t, c_void_p, c_size_t, c_int, POINTER(_Result))
        self._count.restype, self._count.argtypes = c_uint64, text
        self._number.argtypes = (*text, c_size_t, c_void_p)
        self._convert.restype = c_uint64
        self._convert.argtypes = (*text, c_size_t, c_uint64, c_char, c_void_p, POINTER(c_uint64))
        self.path: int = library.zs_paths()  # of several for CPUs of different ability, the best that this one has

    def count(self, text: memoryview) -> int:
        """No fewer than the values in the text; a string's commas, colons and brackets count as well."""
        count: int = _call(self._count, text)
        return count + 1

    def read(self, text: memoryview, room: int, floats: int) -> Document:
        """The one JSON value in `text`, UTF-8, with room for so many values; JsonError when there is none, or more than
        it, TooManyValuesError.

        With room for `floats` numbers, arrays of 8 and more are trees; 0: there are no trees.
        """
        result, table, numbers = _Result(), bytearray(16 * room), bytearray(4 * floats)
        path = self.path if floats else _VALUES_ONLY
        _call(self._read, text, table, room, numbers, floats, path, byref(result))
        if result.status == _FULL:
            raise TooManyValuesError
        if result.status:
            raise JsonError(result.status, result.position)
        del table[16 * result.values :], numbers[4 * result.floats :]
        return Document(text, table, numbers)

    def number(self, text: memoryview, at: int) -> int | float:
        """The first one from `at` on."""
        table = bytearray(16)
        _call(self._number, text, at, table)
        return Document(text, table, table).number(0)

    def convert(self, text: memoryview, at: int, count: int, code: str) -> tuple[bytearray, int, int]:
        """The `count` numbers of the tree that begins at `at`, as struct's type `code`: one of bBhHiIqQd?, or e, which
        gives doubles that FP16 has room for.

        Then the first that does not fit: its index, and its place in the text; `count` and anything where all fit.
        """
        index, packed = c_uint64(), bytearray(struct.calcsize("d" if code == "e" else code) * count)
        place: int = _call(self._convert, text, at, count, code.encode(), packed, byref(index))
        return packed, index.value, place


def _call(function: Any, text: memoryview, *arguments: Any) -> Any:
    """`function` of the text's address and length, and of the arguments, a bytearray's address in its place."""
    views = [borrow(text)]
    try:
        passed = []
        for argument in arguments:
            if isinstance(argument, bytearray):
                views.append(borrow(argument))
            passed.append(views[-1].buf if isinstance(argument, bytearray) else argument)
        return function(views[0].buf, views[0].len, *passed)
    finally:
        for view in views:
            give_back(view)
