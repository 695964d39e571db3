"""What a request's call to an upstream came to: for the log and the metrics."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Asked:
    """What the log and the metrics tell of a call to an upstream.

    `call`: what is still to be asked, and by whom the request was begun. `target`: the model here that answered;
    `failures`: the kinds of failed attempts before, and of what ended a stream; `usage`: tokens of prompt and answer.
    """

    __slots__ = ("call", "failures", "target", "usage")

    def __init__(self, call: Any) -> None:
        self.call = call
        self.target: str | None = None
        self.failures: list[str] = []
        self.usage: tuple[int, int] | None = None

    def told(self) -> dict[str, Any]:
        """What the log tells: no key, no prompt, no answer."""
        counts = zip(("prompt_tokens", "completion_tokens"), self.usage or (), strict=False)
        found = {"target": self.target, "attempts": self.call.attempts, "failures": self.failures, **dict(counts)}
        return {name: value for name, value in found.items() if value}
