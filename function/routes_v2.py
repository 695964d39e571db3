"""What the Open Inference Protocol's routes answer."""

from __future__ import annotations

from function import oip, oip_response
from function.errors import PredictError
from function.message import Phase, Response, json_response
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.api import Api
    from function.message import Request
    from function.repository import Metadata


def server_metadata(_api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, oip_response.server_metadata(VERSION))


def live(_api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    return json_response(200, {"live": True})


def ready(api: Api, _request: Request, _parameters: dict[str, str]) -> Response:
    try:
        api.models.metadata(api.settings.model_name)
    except PredictError as error:
        return json_response(503, {"live": True, "ready": False, "error": error.message})
    return json_response(200, {"live": True, "ready": True})  # the kserve client wants both


def _versioned(api: Api, parameters: dict[str, str]) -> Metadata:
    metadata = api.models.metadata(parameters["model"])
    version = parameters.get("version", metadata.version)
    if version != metadata.version:
        raise PredictError(
            "NOT_FOUND", f"model {metadata.name!r} has no version {version!r}; it has {metadata.version!r}"
        )
    return metadata


def model_metadata(api: Api, _request: Request, parameters: dict[str, str]) -> Response:
    return json_response(200, oip_response.model_metadata(_versioned(api, parameters)))


def model_ready(api: Api, _request: Request, parameters: dict[str, str]) -> Response:
    return json_response(200, {"name": _versioned(api, parameters).name, "ready": True})


def infer(api: Api, request: Request, parameters: dict[str, str]) -> Response:
    metadata = _versioned(api, parameters)
    header_length = oip.parse_header_length(request.headers.get("inference-header-content-length"))
    model = api.begin(request, metadata)
    with Phase(request, "decode"):
        inference = oip.decode_infer(request.body, header_length, metadata)
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


def repository_index(api: Api, request: Request, _parameters: dict[str, str]) -> Response:
    only_ready = oip_response.index_request(request.body)
    rows = []
    for name, found in api.models.all():
        if not isinstance(found, PredictError):
            rows.append({"name": name, "version": found.version, "state": "READY", "reason": ""})
        elif not only_ready:
            rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": found.message})
    return json_response(200, rows)
