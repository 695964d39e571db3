"""After a SnapStart restore: is this still the CPU family that the model was loaded for?"""

from __future__ import annotations

import subprocess
import sys

from function.native import cpu, ort_capi
from function.observability.telemetry import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.engine.registry import Models


def register(models: Models) -> None:
    """Has awslambdaric call `verify` after each restore, before the first request."""
    from snapshot_restore_py import register_after_restore  # comes with awslambdaric

    register_after_restore(verify, models)


def verify(models: Models) -> None:
    """Loads everything anew when the CPU's flags are no longer those of the snapshot; PredictError when that fails.

    glibc, the kernel and ORT's kernels all remember the CPU they started on, so a new process asks the CPU, and a
    second copy of ORT's library takes the place of the first.
    """
    command = [sys.executable, "-c", "from function.native import cpu; print(*sorted(cpu.flags()))"]
    asked = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True)
    found = frozenset(asked.stdout.split())
    if found != cpu.flags():
        warn(f"restored on a CPU with {sorted(found)}: loading anew")
        cpu.restored_on(found)
        ort_capi.reload()
        models.reload()
