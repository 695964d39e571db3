"""What the Open Inference Protocol's routes answer."""

from __future__ import annotations

from function.codecs import oip_request, oip_response
from function.errors import PredictError
from function.messages import Phase, Response, json_response
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.app import App
    from function.engine.repository import Metadata
    from function.messages import Request


def server_metadata(_api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, oip_response.server_metadata(VERSION))


def live(_api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, {"live": True})


def ready(api: App, _request: Request, _parameters: dict[str, str]) -> Response:
    try:
        api.models.metadata(api.settings.model_name)
    except PredictError as error:
        return json_response(503, {"live": True, "ready": False, "error": error.message})
    return json_response(200, {"live": True, "ready": True})  # the kserve client wants both


def _versioned(api: App, parameters: dict[str, str]) -> Metadata:
    metadata = api.models.metadata(parameters["model"])
    version = parameters.get("version", metadata.version)
    if version != metadata.version:
        raise PredictError(
            "NOT_FOUND", f"model {metadata.name!r} has no version {version!r}; it has {metadata.version!r}"
        )
    return metadata


def model_metadata(api: App, _request: Request, parameters: dict[str, str]) -> Response:
    return json_response(200, oip_response.model_metadata(_versioned(api, parameters)))


def model_ready(api: App, _request: Request, parameters: dict[str, str]) -> Response:
    return json_response(200, {"name": _versioned(api, parameters).name, "ready": True})


def infer(api: App, request: Request, parameters: dict[str, str]) -> Response:
    metadata = _versioned(api, parameters)
    header_length = oip_request.parse_header_length(request.headers.get("inference-header-content-length"))
    model = api.begin(request, metadata)
    with Phase(request, "decode"):
        inference = oip_request.decode_infer(request.body, header_length, metadata)
        request.body = b""  # its memory is of more use to the inference
    ready = model()
    with Phase(request, "infer"):
        outputs = ready.run(inference.inputs, [wanted.name for wanted in inference.outputs])
    with Phase(request, "encode"):
        body, json_length = oip_response.encode_infer(metadata, inference, outputs, metadata.labels)
    if json_length is None:
        return Response(200, {"Content-Type": "application/json"}, body)
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(json_length),
    }
    return Response(200, headers, body)


def repository_index(api: App, request: Request, _parameters: dict[str, str]) -> Response:
    only_ready = oip_response.index_request(request.body)
    rows = []
    for name, found in api.models.all():
        if not isinstance(found, PredictError):
            rows.append({"name": name, "version": found.version, "state": "READY", "reason": ""})
        elif not only_ready:
            rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": found.message})
    return json_response(200, rows)
