"""`zeroserve serve --reload`: the server, and beside it a watch over the model's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from infra import serve as server
from models import manifest, prepare
from models.manifest import ManifestError

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from models.manifest import Manifest

INTERVAL = 0.5  # seconds between two looks at the folder
_OWN = ("prepared", ".prepare-", "__pycache__")  # what preparing itself changes


def serve(model: Manifest, port: int) -> int:
    """Serves until a signal ends the server; returns its exit status."""
    print(server.introduce(model, port), flush=True)
    with subprocess.Popen(server.command(port), env=server.environment(model)) as child:

        def hand_on(number: int, _: FrameType | None) -> None:
            child.send_signal(number)

        before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            _watch(model.folder, child)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return child.wait()


def _watch(folder: Path, child: subprocess.Popen[bytes]) -> None:
    """Until the server ends: prepares what has changed, and has the server load what was prepared, by whomever."""
    seen, built = _state(folder), _built(folder)
    while child.poll() is None:
        time.sleep(INTERVAL)
        if (now := _state(folder)) != seen:
            if now != _settled(folder, now):  # somebody is still writing
                continue
            seen = now
            _prepare(folder)
        if (latest := _built(folder)) != built and latest is not None:
            built = latest
            print(f"{folder.name}: has changed and is loaded anew", flush=True)
            child.send_signal(signal.SIGHUP)


def _settled(folder: Path, before: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    time.sleep(INTERVAL / 5)
    return _state(folder) if before else {}


def _prepare(folder: Path) -> None:
    """A folder that cannot be prepared is told of in one line, and what was served before goes on being served."""
    try:
        print("\n".join(prepare.prepare(manifest.read(folder), emulate=False)), flush=True)
    except (ManifestError, OSError) as error:
        print(f"error: {error}; what was served before is served still", file=sys.stderr, flush=True)


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each of the folder's own files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not relative.parts[0].startswith(_OWN) and "__pycache__" not in relative.parts:
            try:
                status = os.stat(path)  # noqa: PTH116  (one call for both)
            except OSError:  # just renamed
                continue
            if path.is_file():
                found[str(relative)] = (status.st_size, status.st_mtime_ns)
    return found


def _built(folder: Path) -> tuple[int, int] | None:
    """Which build lies there; None for a moment without one."""
    try:
        status = (folder / "prepared" / "model.json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
