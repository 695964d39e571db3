"""An upstream as [upstream] of model.toml describes it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Target:
    """Where it is, what it is asked for, for how long and how often; `open` calls are under way.

    Times are seconds. `key` is empty, or where the key comes from: env:NAME, secretsmanager:NAME, ssm:NAME.
    """

    def __init__(self, name: str, fingerprint: str, rule: Mapping[str, Any]) -> None:
        """`rule` is the entry `upstream` of model.json, `name` the model's here."""
        self.name, self.fingerprint = name, fingerprint
        self.tls: bool = rule["tls"]
        self.host: str = rule["host"]
        self.port: int = rule["port"]
        self.path: str = rule["path"]  # without a last slash
        self.model: str = rule["model"]
        self.key: str = rule["key"]
        self.connect_s: float = rule["connect_s"]
        self.first_token_s: float = rule["first_token_s"]
        self.between_tokens_s: float = rule["between_tokens_s"]
        self.whole_s: float = rule["whole_s"]
        self.retries: int = rule["retries"]
        self.fallbacks: list[str] = rule["fallbacks"]
        self.concurrency: int = rule["concurrency"]  # 0: any number
        self.max_tokens: int = rule["max_tokens"]  # 0: as the caller says
        self.cache: bool = rule["cache"]
        self.address = (self.host, self.port, self.tls)
        default = self.port == (443 if self.tls else 80)
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = shown if default else f"{shown}:{self.port}"
        self.open = 0
