"""Answers to repeated requests: hot ones in memory, warm ones in a shared tier, all others worked out anew."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict

from function.messages import Response
from function.native import cpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.cache.remote_tier import RemoteTier
    from function.exchange import Exchange
    from function.messages import Request
    from function.settings import Settings

# The request headers that change an answer. Bodies are inflated before this cache, and answers compressed after it.
_HEADERS = ("content-type", "inference-header-content-length")
_STORED = frozenset(("Content-Type", "Inference-Header-Content-Length"))  # the headers of an entry
_TYPES = ("application/json", "application/octet-stream")
_LONGEST_HEAD = 200  # bytes of an entry's headers
_OVERHEAD = 500  # bytes of Python objects around an entry, about


def key_of(request: Request, model: tuple[str, str] | None, fingerprint: str, program: str) -> str:
    """A digest of all that an answer depends on; `program` is the version of the function, `model` name and version.

    `fingerprint` stands for the raw model, model.toml, the labels, ONNX Runtime and how it was prepared; CPU families
    differ in the last digits, and those with VNNI may have an artifact of 8-bit integers. The body is taken as it is:
    two spellings of the same JSON are two entries.
    """
    parts = (
        program,
        model,
        fingerprint,
        cpu.family(cpu.flags()),
        cpu.has_vnni(cpu.flags()),
        request.method,
        request.path,
        sorted(request.query.items()),
        [request.headers.get(name) for name in _HEADERS],
    )
    digest = hashlib.sha256(json.dumps(parts).encode())
    digest.update(request.body)
    return digest.hexdigest()


class LRUCache:
    """The first tier: the latest answers of this process, `capacity` bytes of them; the longest unused one goes."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._size = capacity, 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: str, entry: bytes) -> None:
        """Keeps the entry unless it alone is too large."""
        with self._lock:
            if len(entry) + _OVERHEAD > self._capacity:
                return
            self._size += len(entry) + _OVERHEAD
            if key in self._entries:
                self._size -= len(self._entries.pop(key)) + _OVERHEAD
            self._entries[key] = entry
            while self._size > self._capacity:
                self._size -= len(self._entries.popitem(last=False)[1]) + _OVERHEAD


class ResultCache:
    """Both tiers. `get` and `put` may be called from any number of threads at once, and never raise."""

    def __init__(self, settings: Settings) -> None:
        """PredictError (UNAVAILABLE) when RESULT_CACHE_URL is not a tier's."""
        self._memory = LRUCache(settings.result_cache_bytes)
        self._shared: RemoteTier | None = None
        if settings.result_cache_url:
            from function.cache.remote_tier import RemoteTier

            self._shared = RemoteTier(settings)

    def get(self, exchange: Exchange, fingerprint: str, program: str) -> Response | None:
        """The stored answer; exchange.cache says where it was, exchange.cache_key under which key."""
        exchange.cache_key = key = key_of(exchange.request, exchange.model, fingerprint, program)
        exchange.cache, entry = "memory", self._memory.get(key)
        if entry is None and self._shared is not None:
            exchange.cache, entry = "shared", self._shared.get(key)
        response = _unpacked(entry)
        if response is None:
            exchange.cache = "miss"
        elif exchange.cache == "shared" and entry is not None:
            self._memory.put(key, entry)
        return response

    def put(self, exchange: Exchange, response: Response) -> None:
        """Keeps the answer under the key that `get` has worked out."""
        if response.status == 200 and (key := exchange.cache_key):
            entry = _packed(response)
            self._memory.put(key, entry)
            if self._shared is not None:
                self._shared.put(key, entry)


def _packed(response: Response) -> bytes:
    return json.dumps(response.headers).encode() + b"\n" + response.body


def _unpacked(entry: bytes | None) -> Response | None:
    """None also for an entry that is not one of ours: what others wrote into a shared tier is no answer.

    The headers are held against a fixed list, so nothing in them can be what HTTP does not allow.
    """
    head, found, body = (entry or b"").partition(b"\n")
    try:
        headers = json.loads(head) if found and len(head) <= _LONGEST_HEAD else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(headers, dict) or not _STORED.issuperset(headers) or headers.get("Content-Type") not in _TYPES:
        return None
    length = headers.get("Inference-Header-Content-Length", "0")
    if not (isinstance(length, str) and length.isascii() and length.isdigit() and int(length) <= len(body)):
        return None
    return Response(200, headers, body)
