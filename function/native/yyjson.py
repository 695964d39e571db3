"""JSON read by yyjson's C API into one flat array of values, while the GIL is free.

Layout: "Data Structures" of yyjson's documentation. Each value has 16 bytes: a tag, whose lowest byte is the kind and
whose others are the number of elements (of bytes for a string), and a payload: the number, the address of the string,
or for an array or object the distance in bytes to the value after it. Elements follow their array at once, an object's
keys and values in turn.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char

from function.native import yyjson_capi
from function.native.buffer import Borrowed, borrow, give_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from typing import Any

    from typing_extensions import Buffer

    from function.limits import Hold

NULL, FALSE, TRUE, ARRAY, OBJECT = 0x02, 0x03, 0x0B, 0x06, 0x07
UINT, SINT, REAL = 0x04, 0x0C, 0x14  # an integer from 0 to 2^64-1, one from -2^63 to -1, a double
STRING, WITHOUT_ESCAPES = 0x05, 0x08  # WITHOUT_ESCAPES is a flag beside STRING
_decode = ctypes.pythonapi.PyUnicode_DecodeUTF8  # makes no copy of the bytes on the way
_decode.restype, _decode.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_char_p)


class YyjsonError(ValueError):
    """What yyjson refused, in its words; `position` is the byte where."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Document:
    """The `count` values of one JSON text, numbered from 0, the root; freed with this object at the latest.

    `memory` is their bytes, 16 for each: tag and payload.
    """

    def __init__(self, doc: int, text: Borrowed | None = None, hold: Hold | None = None) -> None:
        """`text` is what strings point into, when it was read in place; `hold` ends with the document."""
        self._doc: int | None = doc
        self._text, self._hold = text, hold
        found = yyjson_capi.Doc.from_address(doc)
        self._bytes = (c_char * (16 * found.values_read)).from_address(found.root)
        self.memory = memoryview(self._bytes).cast("B")
        self.count: int = found.values_read
        self._words, self._integers = self.memory.cast("Q"), self.memory.cast("q")
        self._reals = self.memory.cast("d")

    def free(self) -> None:
        """Gives the memory back now; using the document after that is a ValueError."""
        if self._doc is None:
            return
        for view in (self._words, self._integers, self._reals, self.memory):
            view.release()
        del self._bytes
        doc = yyjson_capi.Doc.from_address(self._doc)
        free = yyjson_capi.FREE(doc.free)
        if doc.strings:
            free(doc.context, doc.strings)
        free(doc.context, self._doc)
        self._doc = None
        if self._text is not None:
            give_back(self._text)
        if self._hold:
            self._hold.release()

    __del__ = free

    def kind(self, index: int) -> int:
        """NULL, FALSE, TRUE, UINT, SINT, REAL, STRING (perhaps with WITHOUT_ESCAPES), ARRAY or OBJECT."""
        kind: int = self._words[2 * index] & 0xFF
        return kind

    def length(self, index: int) -> int:
        """The number of an array's elements, of an object's pairs, or of a string's bytes."""
        length: int = self._words[2 * index] >> 8
        return length

    def is_array_of(self, index: int, length: int) -> bool:
        """Whether value `index` is an array of so many elements."""
        return bool(self._words[2 * index] == ARRAY | length << 8)

    def number(self, index: int) -> int | float:
        """The value of a UINT, SINT or REAL."""
        kind = self.kind(index)
        views: dict[int, Any] = {UINT: self._words, SINT: self._integers, REAL: self._reals}
        number: int | float = views[kind][2 * index + 1]
        return number

    def payloads(self, start: int, count: int) -> array[int]:
        """64 bits of each of the `count` numbers from `start`, as unsigned integers whatever they are."""
        from array import array  # 0.2 ms

        words = array("Q")
        words.frombytes(self.memory[16 * start : 16 * (start + count)])
        return words[1::2]

    def kinds(self, start: int, stop: int) -> bytes:
        """The kind of each value from `start` to before `stop`, a byte each."""
        kinds: bytes = self._bytes[16 * start : 16 * stop : 16]  # 0.1 ms for 150,000; a memoryview's slice takes 1.3
        return kinds

    def after(self, index: int) -> int:
        """The value that follows `index` and all that is in it."""
        return index + (self._words[2 * index + 1] // 16 if self.kind(index) in (ARRAY, OBJECT) else 1)

    def string(self, index: int) -> str:
        """The text of a string."""
        text: str = _decode(self._words[2 * index + 1], self.length(index), b"strict")
        return text


class Numbers:
    """The numbers of an array, where they were read: values `start` to before `stop` of `document`.

    `kinds` has their kinds; `arrays` of them are no numbers but begin an array, the one itself among them; `count` are
    numbers, `integers` of these integers.
    """

    __slots__ = ("arrays", "count", "document", "integers", "kinds", "start", "stop")

    def __init__(self, document: Document, start: int, stop: int) -> None:
        self.document, self.start, self.stop = document, start, stop
        self.kinds = kinds = document.kinds(start, stop)
        self.arrays = kinds.count(ARRAY)
        reals = kinds.count(REAL)
        rest = len(kinds) - self.arrays - reals
        self.integers = kinds.count(UINT) + kinds.count(SINT) if rest else 0
        self.count = reals + self.integers

    def memory(self) -> memoryview:
        """The 16 bytes of each value."""
        return self.document.memory[16 * self.start : 16 * self.stop]


class OwnedText(bytearray):
    """A text of so many bytes, to be filled, that `read` may spoil: its one owner has no other use for it."""

    def __init__(self, length: int) -> None:
        super().__init__(length + yyjson_capi.PADDING)
        del self[length:]  # the memory stays


def read(text: Buffer, hold: Hold | None = None) -> Document:
    """The one JSON value in `text`, UTF-8. YyjsonError when there is none, or more than it.

    `hold` is of the memory budget: it is released with the document's memory, at once when there is none.

    An OwnedText is read in place, which saves a copy of it and spoils it.
    """
    error, reader = yyjson_capi.ReadError(), _reader()
    borrowed, in_place = borrow(text), _may_be_spoiled(text)
    doc = None
    try:
        if in_place:
            ctypes.memset(borrowed.buf + borrowed.len, 0, yyjson_capi.PADDING)
        doc = reader(borrowed.buf, borrowed.len, yyjson_capi.READ_IN_PLACE if in_place else 0, None, byref(error))
    finally:
        if not (doc and in_place):
            give_back(borrowed)
    if not doc:
        if hold:
            hold.release()
        if error.code == yyjson_capi.ERROR_MEMORY:
            raise MemoryError
        raise YyjsonError(error.message.decode(), error.position)
    return Document(doc, borrowed if in_place else None, hold)


def _may_be_spoiled(text: Buffer) -> bool:
    return isinstance(text, OwnedText) and text.__alloc__() >= len(text) + yyjson_capi.PADDING


_read: Any = None


def _reader() -> Any:
    """yyjson_read_opts, loaded on first need."""
    global _read  # noqa: PLW0603  (one library per process)
    if _read is None:
        function = yyjson_capi.load_reader()
        _check_layout(function)
        _read = function
    return _read


def _check_layout(function: Any) -> None:
    """PredictError when values do not lie as this module reads them: in another version of yyjson they might."""
    text = b'[[1,-2],0.5,"a",{}]'
    document = Document(function(text, len(text), 0, None, None))
    words, string = document._words.tolist(), document._words[10] & ~WITHOUT_ESCAPES
    found = {
        (ARRAY | 4 << 8, 16 * 7): (words[0], words[1]),
        (ARRAY | 2 << 8, 16 * 3): (words[2], words[3]),
        (UINT, 1): (words[4], words[5]),
        (SINT, -2): (words[6], document._integers[7]),
        (REAL, 0.5): (words[8], document._reals[9]),
        (STRING | 1 << 8, "a"): (string, document.string(5)),
        (OBJECT, 16): (words[12], words[13]),
    }
    if any(want != got for want, got in found.items()):
        raise yyjson_capi.wrong_version()
