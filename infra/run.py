"""`make run`: a model asked inside the real Lambda emulator, and what it cost.

python -m infra.run --model digits --image picture.png
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from infra import answers, requests, rie, serve
from infra.emulator import Emulator, EmulatorError
from infra.front import FunctionUrl
from infra.requests import Call
from infra.rie import RieError
from models import manifest, places, prepare
from models.example import FILE
from models.manifest import Manifest, ManifestError
from models.pull import PullError, pull

if TYPE_CHECKING:
    from collections.abc import Iterator

_CACHED = places.cache() / "samples"  # where the curl lines find them
SAMPLES = _CACHED.relative_to(Path.cwd()) if _CACHED.is_relative_to(Path.cwd()) else _CACHED
DIGITS = range(5)
WARM_REQUESTS = 10
PHASES = ("init", "load", "decode", "infer", "encode")


@dataclass(frozen=True)
class Sample:
    """A request to send, where its body lies, and the right answer where it is known."""

    title: str
    call: Call
    path: Path
    label: str | None = None


def samples_of(model: Manifest, file: str, image: str) -> list[Sample]:
    """What was given, or the pictures that the model brings, or its recorded example; ManifestError."""
    if image:
        try:
            return [Sample(image, _picture(model, Path(image).read_bytes()), Path(image))]
        except OSError as error:
            raise ManifestError(f"IMAGE cannot be read: {error}") from error
    if file:
        return [Sample(file, requests.given(model, Path(file)), Path(file))]
    SAMPLES.mkdir(parents=True, exist_ok=True)
    found = []
    for source in sorted((model.folder / "samples").glob("*_*.png"), key=lambda path: path.stem.partition("_")[2]):
        index, _, label = source.stem.partition("_")
        path = SAMPLES / f"{model.name.removesuffix('s')}-{label}.png"
        path.write_bytes(source.read_bytes())
        found.append(Sample(f"held-out digit no. {index}", _picture(model, path.read_bytes()), path, label))
    if found:
        return found
    example = model.folder / FILE
    call = requests.recorded(model)
    if not example.is_file():
        example = SAMPLES / f"{quote(model.name, safe='')}.json"
        example.write_bytes(call.body)
    return [Sample("the example", call, example)]


def _picture(model: Manifest, content: bytes) -> Call:
    return Call(f"/v1/models/{quote(model.folder.name, safe='')}/classify", content, "application/octet-stream")


def ready_model(name: str) -> Manifest:
    """The model, pulled if it has to be and prepared for this machine."""
    folder = manifest.folder_of(name)
    model = manifest.read(folder)
    if not model.path.is_file() and model.file.sources:
        pull(folder)
    print("\n".join(prepare.prepare(model, emulate=folder.parent == places.EMBEDDED)))
    return model


@contextmanager
def entry(model: Manifest) -> Iterator[str]:
    """The URL of the function in the emulator; of the plain server where there can be no emulator."""
    environment = {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.folder.name}
    try:
        rie.ensure()
    except RieError as error:
        why = str(error).splitlines()[0].rstrip(":")
        print(f"{why}; the plain server runs the same function instead", file=sys.stderr)
        with serve.running(model) as url:
            yield url
        return
    with Emulator(env=environment) as emulator, FunctionUrl(emulator) as front:
        yield front.url


def ask(url: str, call: Call) -> tuple[bytes, dict[str, float], float]:
    """The answer, its Server-Timing phases in ms, and the milliseconds that the client waited."""
    start = time.perf_counter()
    request = urllib.request.Request(url + call.path, call.body, {"Content-Type": call.media_type})  # noqa: S310
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310  (our own loopback address)
            answer, timing = response.read(), response.headers["Server-Timing"] or ""
    except urllib.error.HTTPError as error:
        with error:
            raise ManifestError(f"the function answered {error.code}: {error.read().decode()}") from error
    waited = (time.perf_counter() - start) * 1000
    phases = {}
    for each in filter(None, timing.split(", ")):
        name, _, duration = each.partition(";dur=")
        phases[name] = float(duration.partition(";")[0] or 0)
    return answer, phases, waited


def show(model: Manifest, samples: list[Sample]) -> bool:
    """Sends the samples and prints tables; False when a known label is not on top."""
    right = True
    with entry(model) as url:
        rows = []
        for number, sample in enumerate(samples):
            answer, phases, waited = ask(url, sample.call)
            if number == 0:
                rows.append(("cold", phases, waited))
            right &= sample.label is None or sample.label == _top(answer)
            print(f"\n{sample.title}" + (f" (a {sample.label})" if sample.label else ""))
            print(answers.shown(answer))
        timed = [ask(url, samples[0].call)[1:] for _ in range(WARM_REQUESTS)]
        rows.append(("warm", *sorted(timed, key=lambda row: row[1])[WARM_REQUESTS // 2]))
    print(f"\n{'milliseconds':<14}" + "".join(f"{name:>9}" for name in PHASES) + f"{'client waited':>16}")
    for name, phases, waited in rows:
        cells = "".join(f"{phases.get(phase, 0):>9.1f}" if phase in phases else f"{'-':>9}" for phase in PHASES)
        print(f"{name:<14}{cells}{waited:>16.1f}")
    print("('-': not part of that request; init ran once, before the first)")
    return right


def _top(answer: bytes) -> str:
    document: Any = json.loads(answer)
    return str(document["predictions"][0]["label"])


def following(model: Manifest, sample: Sample) -> str:
    """What to type next, for a function that goes on running."""
    settings = ""
    if model.folder.parent != places.EMBEDDED or model.name != "digits":
        settings = f"MODEL_REPOSITORY={shlex.quote(str(model.folder.parent))} MODEL_NAME={shlex.quote(model.name)} "
    first = f"{settings}.venv/bin/python -m infra.front --port 9000     # the function URL"
    if not places.CHECKOUT:
        first = f"zeroserve serve {requests.quoted(model)} --port 9000"
    data = shlex.quote(f"@{sample.path}")
    target = f"http://127.0.0.1:9000{sample.call.path}"
    if sample.call.media_type == requests.JSON:
        line = f"curl -H 'Content-Type: {requests.JSON}' --data-binary {data} {target}"
    else:
        line = f"curl --data-binary {data} 'http://127.0.0.1:9000/classify?top_k=3'"
    return f"""
Next, in two terminals:
  {first}
  {line}
  curl http://127.0.0.1:9000/v2/models/{quote(model.name, safe="")}
  curl http://127.0.0.1:9000/v1/models"""


def run(name: str, file: str = "", image: str = "") -> int:
    """0 when every sample with a known label has it on top, 1 when not. ManifestError, PullError, EmulatorError."""
    model = ready_model(name)
    samples = samples_of(model, file, image)
    right = show(model, samples)
    print(following(model, samples[0]))
    if not right:
        print(f"error: a sample was not classified right; run: zeroserve verify {name}", file=sys.stderr)
    return 0 if right else 1


def main() -> int:
    """As `run`; 1 also when something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="name of a model, or a folder with a model.toml")
    parser.add_argument("--image", default="", help="a JPEG, PNG or WebP file")
    arguments = parser.parse_args()
    try:
        return run(arguments.model, image=arguments.image)
    except (ManifestError, PullError, EmulatorError, RieError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
