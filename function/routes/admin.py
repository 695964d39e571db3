"""The admin key, and what GoServe's route loads with it while the process runs: prepared folders of the repository."""

from __future__ import annotations

import os

from function.codecs.json_body import check_fields, describe, parse, string_field
from function.errors import PredictError, invalid
from function.messages import json_response
from function.routes.goserve import model_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.exchange import Exchange
    from function.inference import Inference
    from function.messages import Response

# Not Authorization: AWS signs requests to a function URL in that one.
HEADER = "X-Admin-Key"


def load_model(inference: Inference, exchange: Exchange, _parameters: dict[str, str]) -> Response:
    """The model of {"name", "path"}, loaded anew; `path` is absolute or relative to the model repository.

    PredictError: NOT_FOUND without the key, INVALID_ARGUMENT for a path outside the repository; as Models.load.
    """
    request, settings = exchange.request, inference.settings
    check_key(inference, exchange, "POST /v1/models")
    with exchange.phase("load"):
        root = parse(request.body)
        check_fields(root, ("name", "path"), "the request")
        name, path = (string_field(root, field, "the request") for field in ("name", "path"))
        repository = os.path.realpath(settings.model_repository)
        try:
            metadata = inference.models.load(name, _inside(repository, path))
        except PredictError as error:  # told without the place of the repository on this machine
            raise PredictError(error.code, error.message.replace(repository.rstrip(os.sep) + os.sep, "")) from error
    exchange.model = (metadata.name, metadata.version)
    return json_response(201, model_row(metadata))


def check_key(inference: Inference, exchange: Exchange, route: str) -> None:
    """PredictError (NOT_FOUND) unless the request has the function's key."""
    if not _allowed(inference.settings.admin_key, exchange.request.headers.get(HEADER.lower(), "")):
        # One answer for "off", "no key" and "wrong key": a stranger learns nothing.
        raise PredictError("NOT_FOUND", f"{route} is off, or {HEADER} is not the function's ADMIN_KEY")


def _allowed(key: str, sent: str) -> bool:
    import hmac  # 2 ms

    # Takes as long for a key that is nearly right as for any other of its length.
    return bool(key) and hmac.compare_digest(
        key.encode("utf-8", "surrogateescape"), sent.encode("utf-8", "surrogatepass")
    )


def _inside(root: str, path: str) -> str:
    """The folder that `path` means, all links followed; `root` is the repository's."""
    folder = "" if "\0" in path else os.path.realpath(os.path.join(root, path))
    if not folder.startswith(root.rstrip(os.sep) + os.sep):
        raise invalid(
            f"'path' must be a folder inside the model repository, such as \"digits\"; it is {describe(path)}"
        )
    return folder
