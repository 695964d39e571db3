"""The law of this folder: no process, no network. What needs them stands in tests/integration."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)  # ends with the file: other folders may be run in the same process
def alone(digits_prepared: object) -> Iterator[None]:
    """Starting a process or opening a connection fails; the embedded model is prepared before."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a unit test starts no process and opens no connection: tests/integration is the place for it")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", refuse)
        patch.setattr(os, "fork", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket.socket, "bind", refuse)
        yield
