"""The upstreams of one repository: who is asked for a model, with which key, and how many calls at a time."""

from __future__ import annotations

import time

from function.errors import PredictError
from function.upstream.call import Call
from function.upstream.failure import UpstreamError
from function.upstream.keys import Keys
from function.upstream.target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from function.asked import Asked
    from function.engine.repository import Metadata
    from function.exchange import Exchange
    from function.settings import Settings
    from function.upstream.call import Body


class Gateway:
    """Its calls are made by a transport: `blocking` on Lambda, `loop` in a server."""

    def __init__(self, settings: Settings, metadata_of: Callable[[str], Metadata]) -> None:
        """`metadata_of` a model's name; it raises PredictError where there is none."""
        self.keys = Keys(settings)
        self._metadata_of = metadata_of
        self._targets: dict[str, Target] = {}

    def call(self, exchange: Exchange, metadata: Metadata, path: str, body: Body) -> Call:
        """What is to be asked for `exchange`; `metadata` is an upstream's."""
        target = self.target(metadata)
        left = target.whole_s
        if exchange.deadline is not None:
            left = min(left, exchange.deadline - time.perf_counter())
        deadline = time.monotonic() + left
        return Call(path, body, self._in_order(target), deadline, exchange.request_id)

    def failed(self, asked: Asked, error: UpstreamError, now: float) -> float:
        """Tells `asked` of an attempt in vain, and chooses who is asked next: as `Call.failed`."""
        call: Call = asked.call
        asked.failures.append(error.kind)
        if error.kind == "key":
            self.keys.forget(call.target.key)
        return call.failed(error, now)

    def target(self, metadata: Metadata) -> Target:
        """The upstream of a model; a new one where the model was prepared again."""
        found = self._targets.get(metadata.name)
        if found is None or found.fingerprint != metadata.fingerprint:
            if metadata.upstream is None:
                raise PredictError(
                    "UNAVAILABLE", f"model {metadata.name!r} is no upstream (its model.toml has no [upstream])"
                )
            found = self._targets[metadata.name] = Target(metadata.name, metadata.fingerprint, metadata.upstream)
        return found

    def _in_order(self, target: Target) -> Iterator[Target]:
        yield target
        for name in target.fallbacks:
            try:
                yield self.target(self._metadata_of(name))
            except PredictError as error:
                message = f"the fallback {name!r} of model {target.name!r} cannot be asked: {error.message}"
                raise PredictError("UNAVAILABLE", message, {"Retry-After": "1"}) from None


def take(target: Target) -> None:
    """One of its places; UpstreamError where all are taken."""
    if target.concurrency and target.open >= target.concurrency:
        message = f"{target.name}: {target.concurrency} calls are under way, as many as [upstream] concurrency allows"
        raise UpstreamError("busy", message, code="RESOURCE_EXHAUSTED")
    target.open += 1


def give_back(target: Target) -> None:
    """What `take` took."""
    target.open -= 1
