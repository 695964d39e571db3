"""The body of a request for a language model: as it came, but for the model's name and how long the answer may be."""

from __future__ import annotations

import json

from function.codecs.json_body import Object, describe, parse, string_field
from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TOKENS = ("max_tokens", "max_completion_tokens")
_LOOKED_AT = frozenset(("model", "stream", "temperature", *_TOKENS))


class Completion:
    """`model` as the caller names it; `stream`: the answer is wanted as events."""

    def __init__(self, body: bytes | bytearray | Object) -> None:
        """PredictError where the body is no JSON object, or has a field of ours twice or as something else."""
        self.root = root = parse(body)
        self._places: dict[str, int] = {}  # of values in the document
        self._values: dict[str, Any] = {}
        at = root.index + 1
        for name, value in root.fields():
            if name in _LOOKED_AT:
                if name in self._places:  # which of the two the upstream takes is not known
                    raise invalid(f"the request has the field {name!r} twice; send it once")
                self._places[name], self._values[name] = at + 1, value
            at = root.document.after(at + 1)
        stream = self._values.get("stream")
        if not (stream is None or isinstance(stream, bool)):
            raise invalid(f"'stream' is {describe(stream)}; true or false is expected")
        self.model, self.stream = string_field(root, "model", "the request"), bool(stream)
        # The same is answered when the same is asked, as far as a language model does that.
        self.repeatable = not self.stream and self._values.get("temperature") == 0
        for name in _TOKENS:
            value = self._values.get(name)
            if value is not None and type(value) is not int:
                raise invalid(f"{name!r} is {describe(value)}; a whole number is expected")

    def rewritten(self, model: str, max_tokens: int) -> bytes:
        """The same bytes, for `model`, and for `max_tokens` at most if that is not 0."""
        text = bytes(self.root.document.text)
        edits = [(*self._string_at("model"), json.dumps(model))]
        if max_tokens:
            sent = {name: value for name in _TOKENS if (value := self._values.get(name)) is not None}
            over = [name for name, value in sent.items() if value > max_tokens]
            null = [] if sent else [name for name in _TOKENS if name in self._places]
            edits += [(*self._number_at(name, text), str(max_tokens)) for name in over + null]
            if not (sent or null):
                begin = text.index(b"{") + 1
                edits.append((begin, begin, f'"max_tokens":{max_tokens},'))
        for begin, end, new in sorted(edits, reverse=True):
            text = text[:begin] + new.encode() + text[end:]
        return text

    def _string_at(self, name: str) -> tuple[int, int]:
        """Where the value begins and ends, quotes included."""
        document, index = self.root.document, self._places[name]
        begin = document.payload(index)
        return begin - 1, begin + document.length(index) + 1

    def _number_at(self, name: str, text: bytes) -> tuple[int, int]:
        """The same of a number or null, which stands between its name's colon and a comma or brace."""
        document, key = self.root.document, self._places[name] - 1
        begin = text.index(b":", document.payload(key) + document.length(key)) + 1
        ends = [at for mark in b",}" if (at := text.find(mark, begin)) >= 0]
        return begin, min(ends)
