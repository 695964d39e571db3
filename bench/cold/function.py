"""The cold start of any prepared model, by phase: python -m bench.cold.function MODEL [REQUEST] [--runs 10]

REQUEST is a file as `zeroserve predict` takes it; without one the model's recorded example is sent. The answer is
printed, and has to be the same in all runs: whether it is right is for the reader to see.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import cli, machine
from bench.cold import benchmark, summary
from bench.cold.systems import PACKAGED, PROCESS, RIE, ProcessSystem, zeroserve_packaged, zeroserve_rie
from bench.payloads import Payload, WrongAnswerError
from infra import requests
from layer.unpack import unpack
from models import manifest
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cold.systems import System
    from infra.payload import HttpResponse
    from infra.requests import Call
    from models.manifest import Manifest

SYSTEMS = (PACKAGED, RIE, PROCESS)


@dataclass(frozen=True)
class Request(Payload):
    """A request of somebody's own; `answers` are the bodies that came for it."""

    answers: list[bytes] = field(default_factory=list)

    def check(self, response: HttpResponse) -> None:
        """WrongAnswerError unless the response is 200 and its body what the first one was."""
        if response.status != 200:
            raise WrongAnswerError(f"status {response.status}: {response.body[:300].decode(errors='replace')}")
        self.answers.append(response.body)
        if response.body != self.answers[0]:
            raise WrongAnswerError(f"{self.answers[0][:300]!r} came first, and now {response.body[:300]!r}")


def bench(model: Manifest, call: Call, runs: int, names: Sequence[str] = SYSTEMS) -> tuple[dict[str, Any], bytes]:
    """A document as a result file has it, and the answer. WrongAnswerError; what layer.package.build raises."""
    document: dict[str, Any] = {"machine": machine.machine(), "versions": machine.versions(), "runs": runs}
    request = Request("request", call.path, {"content-type": call.media_type}, call.body, [])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        systems: list[System] = []
        if PACKAGED in names:
            packaged = unpack(folder / "packaged", [str(model.folder)])
            packaged.env["MODEL_NAME"] = model.name
            systems.append(zeroserve_packaged(packaged))
        if RIE in names:
            systems.append(zeroserve_rie(model))
        if PROCESS in names:
            systems.append(ProcessSystem(model, folder))
        for system in systems:
            system.payloads = (request.name,)
        samples = benchmark.measure(systems, [request], runs)
    return document | {"rows": samples.rows(), "ratios": []}, request.answers[0]


def main(argv: Sequence[str] | None = None) -> int:
    """0, or 1 with the reason when a run was not answered well or the model is not prepared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of a prepared model, or a folder with a model.toml")
    parser.add_argument("request", nargs="?", type=Path, help="a picture, JSON or CSV; by default the recorded example")
    parser.add_argument("--runs", type=cli.positive, default=10, help="rounds that count (default: 10)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS, help="see bench/README.md")
    options = parser.parse_args(argv)
    try:
        model = manifest.read(manifest.folder_of(options.model))
        if not (model.prepared / "model.json").is_file():
            raise ManifestError(f"{model.name} is not prepared; run: zeroserve prepare {options.model}")
        call = requests.given(model, options.request) if options.request else requests.recorded(model)
        document, answer = bench(model, call, options.runs, options.systems)
    except (ManifestError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(call.body):,} bytes sent to {call.path}, answered: {answer[:200].decode(errors='replace')}")
    print(summary.table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
