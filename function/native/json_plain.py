"""JSON read by Python where there is no kernel in C: the same values and mistakes, many times slower."""

from __future__ import annotations

import json
import re
from array import array
from math import isinf
from struct import pack, unpack

from function.native.json_values import (
    ARRAY,
    ESCAPED,
    FALSE,
    NULL,
    OBJECT,
    REAL,
    SINT,
    STRING,
    TRUE,
    UINT,
    Document,
    JsonError,
)

_SPACE = re.compile(rb"[ \t\n\r]*")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_CHARACTERS = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+')
_LITERALS = {b"t": (b"true", TRUE, 13), b"f": (b"false", FALSE, 14), b"n": (b"null", NULL, 15)}
_CLOSING = {ARRAY: b"]", OBJECT: b"}"}
_END, _WORD = 1, (1 << 64) - 1


class PlainReader:
    """As json_kernel.Kernel, but that it makes no trees."""

    attempts = ((None, 96),)

    def count(self, text: memoryview) -> int:
        """No fewer than the values in the text."""
        return 1 + sum(map(bytes(text).count, (b",", b":", b"[", b"{")))

    def read(self, text: memoryview, _room: int, _floats: int) -> Document:
        """The one JSON value in `text`, UTF-8; JsonError when there is none, or more than it."""
        return Document(text, _Text(bytes(text)).read(), bytearray())


class _Text:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.values = array("Q")  # tag and payload of each

    def read(self) -> array[int]:
        values, inside = self.values, -1  # the array or object that `at` is in
        at = self._space(0)
        if at == len(self.text):
            raise JsonError(10, 0)
        while True:
            if inside >= 0:
                values[2 * inside] += 256
            first = self.text[at : at + 1]
            if first not in (b"[", b"{"):
                at = self._scalar(at, first, is_root=inside < 0)
            else:
                kind = ARRAY if first == b"[" else OBJECT
                outer, inside = inside, len(values) // 2
                values.extend((kind, outer + 1))
                at = self._space(at + 1)
                if self.text[at : at + 1] != _CLOSING[kind]:
                    at = at if kind == ARRAY else self._key(at)
                    continue
            while True:  # after a value
                at = self._space(at)
                if inside < 0:
                    if at < len(self.text):
                        raise JsonError(21, at)
                    return values
                kind = values[2 * inside] & 0xFF
                if self.text[at : at + 1] == _CLOSING[kind]:
                    outer, values[2 * inside + 1] = values[2 * inside + 1] - 1, len(values) // 2
                    inside, at = outer, at + 1
                    continue
                if self.text[at : at + 1] != b",":
                    raise self._error(18 if kind == ARRAY else 19, at)
                comma, at = at, self._space(at + 1)
                if self.text[at : at + 1] == _CLOSING[kind]:
                    raise JsonError(20, comma)
                at = at if kind == ARRAY else self._key(at)
                break

    def _error(self, number: int, at: int) -> JsonError:
        return JsonError(number, at) if at < len(self.text) else JsonError(_END, len(self.text))

    def _space(self, at: int) -> int:
        return _SPACE.match(self.text, at).end()  # type: ignore[union-attr]  # it always matches

    def _key(self, at: int) -> int:
        """Reads the key at `at` and the colon; returns where its value begins."""
        if self.text[at : at + 1] != b'"':
            raise self._error(16, at)
        at = self._space(self._string(at))
        if self.text[at : at + 1] != b":":
            raise self._error(17, at)
        return self._space(at + 1)

    def _scalar(self, at: int, first: bytes, *, is_root: bool) -> int:
        if first == b'"':
            return self._string(at)
        if first not in _LITERALS:
            return self._number(at, is_root=is_root)
        word, kind, wrong = _LITERALS[first]
        found = self.text[at : at + len(word)]
        if found != word:
            raise self._error(wrong, len(self.text) if word.startswith(found) else at)
        self.values.extend((kind, 0))
        return at + len(word)

    def _number(self, at: int, *, is_root: bool) -> int:
        match = _NUMBER.match(self.text, at)
        minus = self.text[at : at + 1] == b"-"
        if not match:
            raise self._error(2, at + 1) if minus else self._error(12 if is_root else 11, at)
        token, end = match[0], match.end()
        after = self.text[end : end + 1]
        if after.isdigit():
            raise JsonError(3, at + minus)
        if after == b"." and not match.lastindex:
            raise self._error(4, end + 1)
        if after in (b"e", b"E") and not match[2]:
            raise self._error(5, end + 1 + (self.text[end + 1 : end + 2] in (b"+", b"-")))
        integer = int(token) if not match.lastindex and len(token) <= 20 else None
        if integer is not None and -(1 << 63) <= integer < 1 << 64:
            self.values.extend((SINT if minus else UINT, integer & _WORD))
            return end
        number = float(token)
        if isinf(number):
            raise JsonError(6, at)
        self.values.extend((REAL, *unpack("=Q", pack("=d", number))))
        return end

    def _string(self, at: int) -> int:
        """Reads the string at `at`, a quote; returns what follows it."""
        begin, end = at + 1, _CHARACTERS.match(self.text, at + 1).end()  # type: ignore[union-attr]  # it always matches
        content = self.text[begin:end]
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise JsonError(28, begin + error.start) from None
        if self.text[end : end + 1] != b'"':
            if self.text[end : end + 1] != b"\\":
                raise self._error(22, end)
            if self.text[end + 1 : end + 2] == b"u":
                raise self._error(24, end if len(self.text) - end >= 6 else len(self.text))
            raise self._error(23, end + 1)
        if b"\\u" in content:
            try:
                json.loads(f'"{text}"').encode()
            except UnicodeEncodeError:  # half of a pair of surrogates
                raise JsonError(25, begin) from None
        self.values.extend(((ESCAPED if b"\\" in content else STRING) | len(content) << 8, begin))
        return end + 1
