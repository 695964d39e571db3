"""What a client gets, from whichever entry and by whichever way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

JSON_LENGTH = "inference-header-content-length"  # of the JSON before the binary data


@dataclass(frozen=True)
class Answer:
    """Status, headers with names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error in its one form."""
        assert self.headers["content-type"] == "application/json"
        assert list(self.json) == ["error"], self.body
        message: str = self.json["error"]
        return message

    @property
    def parts(self) -> tuple[Any, bytes]:
        """The JSON and the binary data after it."""
        length = int(self.headers[JSON_LENGTH])
        return json.loads(self.body[:length]), self.body[length:]

    @property
    def phases(self) -> dict[str, float]:
        """Server-Timing: name -> milliseconds, 0 where it has no duration."""
        entries = [entry.partition(";dur=") for entry in self.headers["server-timing"].split(", ")]
        return {name: float(duration.partition(";")[0] or 0) for name, _, duration in entries}

    def complaint(self) -> str:
        """What is wrong with the form of this error; empty when nothing is."""
        if self.headers.get("content-type") != "application/json":
            return f"{self.status} with Content-Type {self.headers.get('content-type')!r}, body {self.body[:100]!r}"
        try:
            document = self.json
        except ValueError:
            return f"{self.status} whose body is not JSON: {self.body[:100]!r}"
        if not isinstance(document, dict) or list(document) != ["error"] or not isinstance(document["error"], str):
            return f'{self.status} whose body is not {{"error": text}}: {self.body[:100]!r}'
        if len(document["error"].split()) < 4:
            return f"{self.status} that does not say what to do: {document['error']!r}"
        return ""
