"""`make serve`: the function as an HTTP server, in one process. What the first answer needs is begun first."""

from __future__ import annotations

import gc

gc.disable()  # nothing to collect before the server runs

import os  # noqa: E402  (the collector is quiet before our own imports)
import resource  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402

from function.errors import PredictError  # noqa: E402
from function.limits import LIMITS  # noqa: E402
from function.native import malloc  # noqa: E402
from function.server import start  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

THREAD_STACK = 1024 * 1024  # bytes; the default, 8 MiB a thread, counts towards RLIMIT_DATA though hardly any is used
MOST_FILES = 65_536  # each connection takes a few KB: beyond this, memory and not descriptors is the limit
SPARE_FILES = 64  # descriptors for the model's files and the cache's sockets


def main() -> None:
    """Serves until SIGTERM or SIGINT; what has been accepted then is finished first, and the exit status is 0.

    1 and one line where a setting or the default model is not in order, 3 where the model cannot be loaded or the port
    cannot be had.
    """
    # 1. Clients may connect from here on; they wait.
    host, port = start.options(sys.argv[1:])
    threading.stack_size(THREAD_STACK)
    malloc.share_one_heap()
    try:
        core = start.core(start.settings(os.environ))
        core.inference.metadata({})
    except PredictError as error:
        sys.exit(f"error: {error.message}")
    limit_data()
    files = raise_file_limit()
    backlog = min(2048, files // 4)
    try:
        listener = start.listener(host, port, backlog)
    except OSError as error:
        print(f"error: port {port} of {host} cannot be had: {error.strerror}", file=sys.stderr)
        sys.exit(3)
    # 2. The model is loaded by ORT, outside the GIL, while asyncio is imported: 23 ms.
    loading = start.load(core)
    serving = import_serving()
    # 3. Serve.
    server = serving.Server(core, loading, listener, backlog, max(16, files - backlog - SPARE_FILES))
    gc.enable()
    sys.exit(server.run())


def import_serving() -> ModuleType:
    """The module `serving`, and with it asyncio, without `ssl`: 6 ms, 4 MB, and nothing here speaks TLS by asyncio.

    What speaks it otherwise while the model loads, to S3, was imported with the core, and `ssl` with it.
    """
    absent = "ssl" not in sys.modules
    if absent:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # ImportError, which asyncio is prepared for
    try:
        from function.server import serving
    finally:
        if absent:
            del sys.modules["ssl"]
    return serving


def limit_data() -> None:
    """Where memory is limited, an allocation beyond 7/8 of it fails, and its request with it.

    Else the kernel would end the process, with all requests that are in it.
    """
    if LIMITS.memory < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = LIMITS.memory // 8 * 7
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def raise_file_limit() -> int:
    """Takes as many descriptors as the process may have, MOST_FILES at most; returns their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


if __name__ == "__main__":
    main()
