"""One request answered, here or by a server, and the answer in a few lines for a reader."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from models.manifest import ManifestError

if TYPE_CHECKING:
    from infra.requests import Call
    from models.manifest import Manifest

FEW = 8  # numbers of an output that are shown


class AnswerError(ManifestError):
    """No answer could be had; the message says why."""


def in_process(model: Manifest, call: Call) -> tuple[int, bytes]:
    """Status and body that function/ gives in this very process, without a server."""
    from urllib.parse import unquote

    from function.app import App
    from function.exchange import Exchange
    from function.messages import Request
    from function.settings import Settings

    settings = Settings({**os.environ, "MODEL_REPOSITORY": str(model.folder.parent), "MODEL_NAME": model.name})
    request = Request("POST", unquote(call.path), {}, {"content-type": call.media_type}, call.body)
    response = App(settings).respond(Exchange(request))
    return response.status, bytes(response.body)


def over_http(url: str, call: Call) -> tuple[int, bytes]:
    """The same from `url`; AnswerError when nobody answers there."""
    if not url.startswith(("http://", "https://")):
        raise AnswerError(f"{url!r} is not an http:// or https:// address")
    headers = {"Content-Type": call.media_type}
    request = urllib.request.Request(url.rstrip("/") + call.path, call.body, headers)  # noqa: S310  (checked above)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise AnswerError(f"{url} does not answer: {reason}; start it: zeroserve serve MODEL") from error


def refusal(status: int, body: bytes) -> str:
    """What an answer that is none says."""
    try:
        said = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        said = body.decode(errors="replace").strip()
    return f"the function answered {status}: {said}"


def shown(body: bytes) -> str:
    """An answer of any route, shortened."""
    document: Any = json.loads(body)
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if isinstance(outputs, list):
        return "\n".join(_output(each["name"], each["datatype"], each["shape"], each.get("data")) for each in outputs)
    if isinstance(outputs, dict):
        return "\n".join(f"{name}: {_short(values)}" for name, values in outputs.items())
    data = document.get("data") if isinstance(document, dict) else None
    if isinstance(data, list) and all("embedding" in each for each in data):
        return "\n".join(f"{each['index']}: {_short(each['embedding'])}" for each in data[:FEW])
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if isinstance(predictions, list) and predictions and isinstance(predictions[0], dict) and "label" in predictions[0]:
        return ranked(predictions)
    if isinstance(predictions, list):
        return "\n".join(_short(each) for each in predictions[:FEW])
    return _short(document)


def ranked(predictions: list[dict[str, Any]]) -> str:
    """The classes of a picture, best first, with a bar each."""
    rows = []
    for rank, each in enumerate(predictions, 1):
        bar = "█" * round(each["probability"] * 30)
        rows.append(f"  {rank}  {each['label']:<28.28} {each['probability']:8.4f}  {bar}")
    return "\n".join(rows)


def _output(name: str, datatype: str, shape: list[int], data: Any) -> str:
    return f"{name}  {datatype} {shape}  {_short(data)}"


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > FEW:
        return json.dumps(value[:FEW], ensure_ascii=False)[:-1] + f", ... {len(value) - FEW} more]"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 400 else text[:400] + " ..."
