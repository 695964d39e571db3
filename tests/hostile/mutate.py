"""Mutations of requests and events: bytes flipped, cut, doubled, spliced; tokens, extremes and depth put in."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.hostile import seeds
from tests.hostile.dictionary import EVENT_KEYS, HEADERS, IN_PATH, METHODS, NUMBERS, PATHS, QUERIES, STRANGE, TOKENS
from tests.hostile.seeds import Sent

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

LARGEST = 8_192  # bytes that a mutation adds at most, but for what `_depth` nests
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def request(r: random.Random, whole: float = 0.004, drawn: float = 0.03) -> Sent:
    """One request. `whole` is the share of whole inferences, `drawn` that of pictures, whole or changed."""
    roll = r.random()
    if roll < whole:
        return r.choice(seeds.inferences())
    base = r.choice(seeds.pictures() if roll < whole + drawn else seeds.cheap())
    if r.random() < 0.05:
        return base
    method, target, headers, content = base.method, base.target, dict(base.headers), base.body
    kinds = r.choices(("body", "headers", "target", "method"), (70, 15, 12, 3), k=r.choice((1, 1, 1, 2, 3)))
    for kind in kinds:
        if kind == "body" and method in ("POST", "PUT", "PATCH"):
            content = body(r, content)
            if seeds.LENGTH in headers and headers[seeds.LENGTH] != "0" and r.random() < 0.5:
                headers[seeds.LENGTH] = str(max(0, content.rfind(b"}") + 1))
        elif kind == "headers":
            name = r.choice(tuple(HEADERS))
            headers[name] = r.choice(HEADERS[name])
            if r.random() < 0.2:
                headers.pop(r.choice(tuple(headers)))
        elif kind == "target":
            target = other_target(r, target)
        elif kind == "method":
            method = r.choice(METHODS)
    return Sent(method, target, headers, content)


def body(r: random.Random, data: bytes) -> bytes:
    """One to four mutations of a body."""
    for _ in range(r.choice((1, 1, 2, 4))):
        data = r.choice(_BODY)(r, data)
    return data


def _flip(r: random.Random, data: bytes) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(r.choice((1, 1, 1, 4, 16))):
        changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def _cut(r: random.Random, data: bytes) -> bytes:
    first, last = sorted((r.randrange(len(data) + 1), r.randrange(len(data) + 1)))
    return r.choice((data[:first], data[last:], data[:first] + data[last:]))


def _double(r: random.Random, data: bytes) -> bytes:
    first, last = sorted((r.randrange(len(data) + 1), r.randrange(len(data) + 1)))
    part = data[first:last][:LARGEST]
    return data[:last] + part * min(r.choice((1, 2, 50)), LARGEST // max(1, len(part)) + 1) + data[last:]


def _splice(r: random.Random, data: bytes) -> bytes:
    other = r.choice(seeds.cheap() + seeds.pictures()).body
    return data[: r.randrange(len(data) + 1)] + other[r.randrange(len(other) + 1) :][:LARGEST]


def _token(r: random.Random, data: bytes) -> bytes:
    at = r.randrange(len(data) + 1)
    return data[:at] + r.choice(TOKENS) + data[at + r.choice((0, 0, 1, 4)) :]


def _number(r: random.Random, data: bytes) -> bytes:
    found = list(_NUMBER.finditer(data[:LARGEST]))
    if not found:
        return _token(r, data)
    hit = r.choice(found)
    return data[: hit.start()] + r.choice(NUMBERS) + data[hit.end() :]


def _depth(r: random.Random, data: bytes) -> bytes:
    deep = r.choice((2, 65, 200, 1100, 5000))
    inner = r.choice((b"", b"1", b'"x"'))
    opened, closed = r.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b""), (b'{"inputs":[', b"]}")))
    text = opened * deep + (inner or b"0") + closed * deep
    found = list(_NUMBER.finditer(data[:LARGEST]))
    if not found:
        return text
    hit = r.choice(found)
    return data[: hit.start()] + text + data[hit.end() :]


def _noise(r: random.Random, _data: bytes) -> bytes:
    return r.randbytes(int(2 ** r.uniform(0, 11)) - 1)


_BODY = (_flip, _flip, _cut, _double, _splice, _token, _token, _number, _number, _depth, _noise)


def other_target(r: random.Random, target: str) -> str:
    """Another path or query: printable ASCII without space and '#', as a request line has it."""
    path, _, query = target.partition("?")
    roll = r.random()
    if roll < 0.3:
        path = r.choice(PATHS)
    elif roll < 0.5:
        at = r.randrange(len(path)) + 1
        path = path[:at] + r.choice(IN_PATH) + path[at:]
    else:
        query = r.choice(QUERIES)
    return path + ("?" + query if query else "")


def event(r: random.Random) -> Any:
    """An event of another source than function URLs, changed in one to three places."""
    changed = copy.deepcopy(r.choice(seeds.events()))
    for _ in range(r.choice((1, 1, 2, 3))):
        changed = _changed_value(r, changed, r.randrange(6))
    return changed


def _strange(r: random.Random) -> Any:
    roll = r.random()
    if roll < 0.1:
        deep: Any = 1
        for _ in range(r.choice((3, 100, 900, 2500))):
            deep = [deep] if roll < 0.05 else {"a": deep}
        return deep
    if roll < 0.2:
        return copy.deepcopy(r.choice(seeds.events()))
    return quote(r.randbytes(8)) if roll < 0.25 else copy.deepcopy(r.choice(STRANGE))


def _changed_value(r: random.Random, value: Any, depth: int) -> Any:
    """`value` with something below it replaced, dropped or added; `depth` levels down at most."""
    if depth <= 0 or not isinstance(value, dict | list) or not value or r.random() < 0.1:
        if isinstance(value, str) and r.random() < 0.5:
            return body(r, value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
        return _strange(r)
    key: Any = r.choice(list(value)) if isinstance(value, dict) else r.randrange(len(value))
    roll = r.random()
    if roll < 0.1:
        del value[key]
    elif roll < 0.15 and isinstance(value, dict):
        value[r.choice(EVENT_KEYS)] = _strange(r)
    else:
        value[key] = _changed_value(r, value[key], depth - 1)
    return value


def as_json(value: Any) -> bytes:
    """An event as it travels; lone surrogates as escapes."""
    try:
        return json.dumps(value).encode()
    except RecursionError:  # Python 3.12 and 3.13 bound the depth of json's C code, whatever sys.setrecursionlimit says
        return "".join(_pieces(value)).encode()


def _pieces(value: Any) -> Iterator[str]:
    """The JSON text of `value` without recursion."""
    rest: list[tuple[bool, Any]] = [(False, value)]  # whether it is text already; the next one last
    while rest:
        is_text, item = rest.pop()
        if is_text:
            yield item
        elif isinstance(item, dict | list) and item:
            opened, closed = "{}" if isinstance(item, dict) else "[]"
            rest.append((True, closed))
            for number, key in reversed(list(enumerate(item))):
                before = "," if number else opened
                is_object = isinstance(item, dict)
                rest.append((False, item[key] if is_object else key))
                rest.append((True, before + json.dumps(str(key)) + ":" if is_object else before))
        else:
            yield json.dumps(item)
