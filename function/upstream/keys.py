"""The keys of upstreams: from the environment, Secrets Manager or the parameter store; never in a log or a message."""

from __future__ import annotations

import threading

from function.native import cjson
from function.settings import secret
from function.upstream.failure import UpstreamError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.settings import Settings

# Service -> what its call is named, the field that it takes, and where its answer has the key.
_CALLS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "secretsmanager": ("secretsmanager.GetSecretValue", {"SecretId": ""}, ("SecretString",)),
    "ssm": ("AmazonSSM.GetParameter", {"Name": "", "WithDecryption": True}, ("Parameter", "Value")),
}


class Keys:
    """Each is fetched once, and anew after an upstream has refused it. Any number of threads may ask."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: dict[str, str] = {}
        self._lock = threading.Lock()

    def known(self, where: str) -> str | None:
        """The key if it takes no call to another service; UpstreamError where its variable is empty."""
        kind, _, name = where.partition(":")
        if not where:
            return ""
        if kind == "env":
            return _checked(secret(name), f"the environment variable {name}")
        return self._found.get(where)

    def get(self, where: str) -> str:
        """The key, fetched if need be; UpstreamError."""
        with self._lock:
            key = self.known(where)
            if key is None:
                key = self._found[where] = self._fetch(where)
            return key

    def forget(self, where: str) -> None:
        """An upstream has refused it: perhaps there is a new one."""
        self._found.pop(where, None)

    def _fetch(self, where: str) -> str:
        from function.aws.client import Aws, AwsRequest  # brings http.client, which costs 70 ms
        from function.aws.errors import AwsError

        service, _, name = where.partition(":")
        target, asked, path = _CALLS[service]
        document = {field: value or name for field, value in asked.items()}
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
        call = AwsRequest(service, "POST", "/", headers, cjson.dumps(document).encode())
        try:
            found = cjson.loads(Aws(self._settings).request(call, timeout=5.0).body)
            for part in path:
                found = found[part]
        except (AwsError, KeyError, TypeError, ValueError) as error:
            reason = error if isinstance(error, AwsError) else "it holds no text"
            raise UpstreamError("key", f"the upstream's key could not be read from {where}: {reason}") from None
        return _checked(str(found), where)


def _checked(key: str, where: str) -> str:
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise UpstreamError("key", f"the upstream's key is not in {where}: set it to what Authorization shall carry")
    return key
