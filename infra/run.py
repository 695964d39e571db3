"""`make run`: classify pictures with the function inside the real Lambda emulator, and show what it cost."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.emulator import Emulator, EmulatorError
from infra.front import FunctionUrl
from infra.rie import RieError
from models import manifest, prepare
from models.manifest import Manifest, ManifestError
from models.pull import PullError, pull

SAMPLES = Path(".cache/samples")  # where the curl lines find them
DIGITS = range(5)
WARM_REQUESTS = 10
PHASES = ("init", "load", "decode", "infer", "encode")


@dataclass(frozen=True)
class Picture:
    """A picture to send; `label` is the right answer where it is known."""

    name: str
    path: Path
    content: bytes
    label: str | None = None


def pictures(model: Manifest, image: str) -> list[Picture]:
    """The picture asked for, or held-out samples of the digits; ManifestError when there is nothing to show."""
    if image:
        try:
            return [Picture(image, Path(image), Path(image).read_bytes())]
        except OSError as error:
            raise ManifestError(f"IMAGE cannot be read: {error}") from error
    if model.name != "digits":
        raise ManifestError(
            f"{model.name} comes without samples; add one: make run MODEL={model.name} IMAGE=picture.jpg"
        )
    from models.digits_data import held_out

    contents, labels = held_out()
    samples = []
    SAMPLES.mkdir(parents=True, exist_ok=True)
    for digit in DIGITS:
        index = labels.index(digit)
        path = SAMPLES / f"digit-{digit}.png"
        path.write_bytes(contents[index])
        samples.append(Picture(f"held-out digit no. {index}", path, contents[index], str(digit)))
    return samples


def ready_model(name: str) -> Manifest:
    """The model, pulled if it has to be and prepared for this machine."""
    folder = manifest.folder_of(name)
    model = manifest.read(folder)
    if not model.path.is_file() and model.file.sources:
        pull(folder)
    print("\n".join(prepare.prepare(model)))
    return model


def classify(url: str, picture: Picture) -> tuple[dict[str, Any], dict[str, float], float]:
    """The answer, its Server-Timing phases in ms, and the milliseconds that the client waited."""
    start = time.perf_counter()
    request = urllib.request.Request(f"{url}/classify", picture.content)  # noqa: S310  (our own loopback front)
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310
            answer, timing = json.load(response), response.headers["Server-Timing"]
    except urllib.error.HTTPError as error:
        raise ManifestError(f"the function answered {error.code}: {error.read().decode()}") from error
    waited = (time.perf_counter() - start) * 1000
    phases = {}
    for entry in timing.split(", "):
        name, _, duration = entry.partition(";dur=")
        phases[name] = float(duration or 0)
    return answer, phases, waited


def show(model: Manifest, samples: list[Picture]) -> bool:
    """Sends the samples and prints tables; False when a known label is not on top."""
    right = True
    environment = {"MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.folder.name}
    with Emulator(env=environment) as emulator, FunctionUrl(emulator) as front:
        rows = []
        for number, picture in enumerate(samples):
            answer, phases, waited = classify(front.url, picture)
            if number == 0:
                rows.append(("cold", phases, waited))
            top = answer["predictions"]
            right &= picture.label in (None, top[0]["label"])
            print(f"\n{picture.name}" + (f" (a {picture.label})" if picture.label else ""))
            for rank, each in enumerate(top, 1):
                bar = "█" * round(each["probability"] * 30)
                print(f"  {rank}  {each['label']:<28.28} {each['probability']:8.4f}  {bar}")
        timed = [classify(front.url, samples[0])[1:] for _ in range(WARM_REQUESTS)]
        rows.append(("warm", *sorted(timed, key=lambda row: row[1])[WARM_REQUESTS // 2]))
    print(f"\n{'milliseconds':<14}" + "".join(f"{name:>9}" for name in PHASES) + f"{'client waited':>16}")
    for name, phases, waited in rows:
        cells = "".join(f"{phases.get(phase, 0):>9.1f}" if phase in phases else f"{'-':>9}" for phase in PHASES)
        print(f"{name:<14}{cells}{waited:>16.1f}")
    print("('-': not part of that request; init ran once, before the first)")
    return right


def main() -> int:
    """0 when every sample with a known label has it on top, 1 when not or when something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="digits", help="name of a model, or a folder with a model.toml")
    parser.add_argument("--image", default="", help="a JPEG, PNG or WebP file")
    arguments = parser.parse_args()
    try:
        model = ready_model(arguments.model)
        samples = pictures(model, arguments.image)
        right = show(model, samples)
    except (ManifestError, PullError, EmulatorError, RieError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    settings = "" if model.name == "digits" else f"MODEL_REPOSITORY={model.folder.parent} MODEL_NAME={model.name} "
    print(f"""
Next, in two terminals:
  {settings}.venv/bin/python -m infra.front --port 9000     # the function URL
  curl --data-binary @{samples[0].path} 'http://127.0.0.1:9000/classify?top_k=3'
  curl http://127.0.0.1:9000/v2/models/{model.name}
  curl http://127.0.0.1:9000/v1/models""")
    if not right:
        print("error: a sample was not classified right; run: python -m models.verify digits", file=sys.stderr)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
