"""The values of a JSON text as a table, which stands for Python objects until one is asked for.

Each value has 16 bytes: a tag, whose lowest byte is the kind and whose others are the number of an array's elements, an
object's pairs, a string's bytes or a tree's dimensions; and a payload: the number, where a string or tree begins in the
text, or for an array or object the number of the value after it. Elements follow their array at once, an object's keys
and values in turn. A tree (NUMBERS) is an array of numbers whose branches are all alike: native/json.c has its layout.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from typing import Any

    from function.limits import Hold

NULL, FALSE, TRUE, UINT, SINT, REAL, STRING, ESCAPED, ARRAY, OBJECT, NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
WORDS = {
    1: "unexpected end of data",
    2: "no digit after minus sign",
    3: "number with leading zero is not allowed",
    4: "no digit after decimal point",
    5: "no digit after exponent sign",
    6: "number is infinity when parsed as double",
    10: "input data is empty",
    11: "unexpected character, expected a valid JSON value",
    12: "unexpected character, expected a valid root value",
    13: "invalid literal, expected a valid literal such as 'true'",
    14: "invalid literal, expected a valid literal such as 'false'",
    15: "invalid literal, expected a valid literal such as 'null'",
    16: "unexpected character, expected a string for object key",
    17: "unexpected character, expected a colon after object key",
    18: "unexpected character, expected a comma or a closing bracket",
    19: "unexpected character, expected a comma or a closing brace",
    20: "trailing comma is not allowed",
    21: "unexpected content after document",
    22: "unexpected control character in string",
    23: "invalid escaped character in string",
    24: "invalid escaped sequence in string",
    25: "no low surrogate in string",
    26: "invalid low surrogate in string",
    27: "invalid high surrogate in string",
    28: "invalid UTF-8 encoding in string",
}


class JsonError(ValueError):
    """What is wrong with a text, by its number in WORDS; `position` is the byte where."""

    def __init__(self, number: int, position: int) -> None:
        super().__init__(WORDS[number])
        self.number, self.position = number, position


class TooManyValuesError(Exception):
    """There are more values than there was room for."""


class Document:
    """The values of one JSON text, numbered from 0, the root."""

    __slots__ = ("_bytes", "_integers", "_reals", "_words", "floats", "hold", "text")

    def __init__(self, text: memoryview, values: bytearray | array[int], floats: bytearray) -> None:
        """`text` must not change while the document lives; `floats` are the numbers of its trees."""
        self.text, self.floats = text, floats
        self.hold: Hold | None = None  # of the memory budget; it ends with the document
        self._bytes = memoryview(values).cast("B")
        self._words, self._integers, self._reals = self._bytes.cast("Q"), self._bytes.cast("q"), self._bytes.cast("d")

    def __del__(self) -> None:
        if self.hold:
            self.hold.release()

    def __len__(self) -> int:
        return len(self._words) // 2

    @property
    def count(self) -> int:
        """How many values the text has, the numbers of its trees among them."""
        return len(self) + len(self.floats) // 4

    def kind(self, index: int) -> int:
        """NULL, FALSE, TRUE, UINT, SINT, REAL, STRING, ESCAPED, ARRAY, OBJECT or NUMBERS."""
        return self._bytes[16 * index]

    def length(self, index: int) -> int:
        """The number of an array's elements, of an object's pairs, of a string's bytes, of a tree's dimensions."""
        return self._words[2 * index] >> 8

    def payload(self, index: int) -> int:
        """An integer, or a place in the text."""
        return self._words[2 * index + 1]

    def number(self, index: int) -> int | float:
        """The value of a UINT, SINT or REAL."""
        views: dict[int, memoryview[Any]] = {UINT: self._words, SINT: self._integers, REAL: self._reals}
        number: int | float = views[self.kind(index)][2 * index + 1]
        return number

    def after(self, index: int) -> int:
        """The value that follows `index` and all that is in it."""
        kind = self.kind(index)
        if kind == NUMBERS:
            return index + 2 + self.length(index)
        return self.payload(index) if kind in (ARRAY, OBJECT) else index + 1

    def string(self, index: int) -> str:
        """The text of a string."""
        begin, escaped = self.payload(index), self.kind(index) == ESCAPED
        text = str(self.text[begin : begin + self.length(index) + escaped], "utf-8")
        if not escaped:
            return text
        from json import decoder  # 7 ms alone, nothing after awslambdaric

        unescaped: str = decoder.scanstring(text, 0)[0]  # type: ignore[attr-defined]  # it wants the closing quote
        return unescaped

    def shape(self, index: int) -> tuple[int, ...]:
        """A tree's."""
        return tuple(self.payload(index + 2 + at) for at in range(self.length(index)))

    def beyond_fp32(self, index: int) -> bool:
        """Whether a number of the tree is infinite as FP32."""
        return bool(self.kind(index + 1))

    def span(self, index: int) -> memoryview:
        """The text of the tree."""
        return self.text[self.payload(index) : self.length(index + 1)]

    def fp32(self, index: int, count: int) -> memoryview:
        """The `count` numbers of the tree as FP32."""
        start = self.payload(index + 1)
        return memoryview(self.floats)[4 * start : 4 * (start + count)]
