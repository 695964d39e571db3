"""What the benchmarks' commands have in common: options, the model made ready, the result file written and shown."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from bench import results
from infra.rie import ROOT
from models import manifest
from models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.manifest import Manifest


def parser(about: str | None, runs: int, meaning: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes: --runs, with this default and meaning, and --model."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--runs", type=positive, default=runs, help=f"{meaning} (default: {runs})")
    made.add_argument("--model", default="digits", help="name of a model, or a folder with a model.toml")
    return made


def run(
    model: str, bench: Callable[[Manifest], dict[str, Any]], file: str, table: Callable[[dict[str, Any]], str]
) -> int:
    """Prepares the model, calls `bench` with it, writes the result to `file` in bench/results and prints its table.

    0 when every answer was right; 1, with the reason, when one was not or something is missing.
    """
    try:
        found = manifest.read(manifest.folder_of(model))
        # In a process of its own: while this one had ONNX Runtime mapped, its pages could not be dropped.
        subprocess.run([sys.executable, "-m", "models.prepare", str(found.folder)], cwd=ROOT, check=True)
        document = bench(found)
        results.write(results.FOLDER / file, document)
    except subprocess.CalledProcessError:
        return 1  # it has said why
    except (ManifestError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(document))
    return 0


def positive(text: str) -> int:
    """A number of runs, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"should be 1 or more, not {number}")
    return number
