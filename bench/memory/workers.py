"""The function in many processes, as Lambda Managed Instances and pre-fork servers run Python: what each one adds.

Each process imports function.handler, answers one event, and waits; the weights are mapped from the same file.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench import proc
from function.engine.idle import IDLE_S
from infra.payload import decode_answer
from infra.rie import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.payloads import Payload
    from models.manifest import Manifest

COUNTS = (1, 4, 16)
SETTLE_S = 1.0  # for what they give back when nobody asks
_PROCESS = Path(__file__).with_name("worker_process.py")


def measure(model: Manifest, payload: Payload, folder: Path, counts: Sequence[int] = COUNTS) -> dict[int, proc.Memory]:
    """The memory of all processes together, by their number; each has answered the payload and is idle since then.

    WrongAnswerError when an answer is not right. `folder` takes the event as a file.
    """
    event = folder / f"{payload.name}.event.json"
    event.write_bytes(payload.event())
    env = {"PYTHONPATH": str(ROOT), "MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name}
    env["AWS_LAMBDA_INITIALIZATION_TYPE"] = "lambda-managed-instances"
    # -P: the script's own folder, whose modules are the benchmark's, stays off the path.
    argv = [sys.executable, "-P", str(_PROCESS), str(event)]
    found: dict[int, proc.Memory] = {}
    pids: list[int] = []
    with ExitStack() as stack:
        for count in sorted(counts):
            while len(pids) < count:
                process = stack.enter_context(proc.spawned(argv, env))
                payload.check(decode_answer(process.line("answer ")))
                pids.append(process.pid)
            time.sleep(IDLE_S + SETTLE_S)
            found[count] = proc.memory(pids)
    return found
