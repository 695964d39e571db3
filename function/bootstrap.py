"""Where a process on Lambda begins: python -c "from function.bootstrap import main; main()" HANDLER [COMMAND ...]

COMMAND runs AWS's own runtime client, for whoever asks for that one.
"""

from __future__ import annotations

import os
import sys
from io import FileIO, TextIOWrapper

from function.events.handler_import import find_handler
from function.events.runtime_client import RuntimeApiError, RuntimeClient
from function.settings import RuntimeSettings

_WHOLE_VCPU = 1769  # MB of memory


def main() -> None:
    """Never returns; SystemExit 1 when the runtime API fails or the function cannot be imported."""
    # 1. SnapStart, Managed Instances, and whoever asks for it, get AWS's own client.
    name, *command = sys.argv[1:]
    settings = RuntimeSettings(os.environ)
    if _wants_awslambdaric(settings):
        command = command or [sys.executable, "-m", "awslambdaric", name]
        os.execv(command[0], command)  # noqa: S606  (no shell is wanted)
    # Lambda may freeze the process as soon as it has answered: nothing printed waits in a buffer.
    sys.stdout = TextIOWrapper(FileIO(1, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)
    client = RuntimeClient(settings.runtime_api)
    try:
        # 2. Ask for the first event, which is on its way while the function is imported.
        if settings.initialization_type == "on-demand" and settings.function_memory_mb >= _WHOLE_VCPU:
            client.ask()
        # 3. Import the function, whose model begins to load before all else is imported.
        handler = find_handler(client, name, settings)
        # 4. Answer one event after the other, until Lambda ends the process.
        from function.events import invocations  # with what the function has imported

        while True:
            invocations.answer(client, handler, settings)
    except RuntimeApiError as error:
        sys.exit(f"zeroserve: {error}")


def _wants_awslambdaric(settings: RuntimeSettings) -> bool:
    special = settings.initialization_type in ("snap-start", "lambda-managed-instances") or settings.max_concurrency
    return bool(special) or settings.runtime_client == "awslambdaric"
