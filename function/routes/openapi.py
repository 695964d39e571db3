"""The OpenAPI 3.1 document of all routes (spec.openapis.org/oas/v3.1.1), built when it is first asked for."""

from __future__ import annotations

import json
from functools import cache

from function.routes.openapi_schemas import (
    BINARY,
    EVERYWHERE,
    HEADERS,
    PARAMETERS,
    RESPONSES,
    SCHEMAS,
    STRING,
    error_responses,
    ref,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_JSON, _BYTES = "application/json", "application/octet-stream"
_TAGS = {
    "protocol": "Open Inference Protocol v2 with the extensions binary_tensor_data, classification and the index of "
    "model_repository",
    "goserve": "GoServe's API",
    "pictures": "Pictures in, labels out",
    "server": "About the server",
}


def _schema(name: str) -> dict[str, Any]:
    return {"schema": ref("schemas", name)}


def _answer(content: dict[str, Any], *headers: str, description: str = "Done.") -> dict[str, Any]:
    names = (*EVERYWHERE, "Content-Encoding", "Vary", *headers)
    return {"description": description, "headers": {name: ref("headers", name) for name in names}, "content": content}


def _operation(
    tag: str,
    summary: str,
    answers: dict[str, Any],
    *,
    parameters: tuple[str, ...] = (),
    body: dict[str, Any] | None = None,
    **rest: Any,
) -> dict[str, Any]:
    names = [*parameters, "TraceParent", "AcceptEncoding"] + ["ContentEncoding"] * (body is not None)
    operation: dict[str, Any] = {"tags": [tag], "summary": summary}
    operation["parameters"] = [ref("parameters", name) for name in names]
    if body is not None:
        operation["requestBody"] = body
    return operation | rest | {"responses": answers}


def _get(tag: str, summary: str, schema: str, *parameters: str, errors: tuple[int, ...] = ()) -> dict[str, Any]:
    answers = {"200": _answer({_JSON: _schema(schema)})} | error_responses(*errors, 405, 500)
    return {"get": _operation(tag, summary, answers, parameters=parameters)}


_POST_ERRORS = (400, 404, 405, 413, 415, 500, 503)


def _infer(*parameters: str) -> dict[str, Any]:
    body = {
        "required": True,
        "content": {_JSON: _schema("InferenceRequest"), _BYTES: {"schema": BINARY}},
        "description": "A JSON object, binary data after it (Inference-Header-Content-Length says where it begins), or "
        "the raw data of the only input.",
    }
    content = {_JSON: _schema("InferenceResponse"), _BYTES: {"schema": BINARY}}
    answers = {"200": _answer(content, "Inference-Header-Content-Length")} | error_responses(*_POST_ERRORS)
    return {
        "post": _operation("protocol", "Run the model", answers, parameters=(*parameters, "HeaderLength"), body=body)
    }


def _classify(*parameters: str) -> dict[str, Any]:
    pictures: dict[str, Any] = {f"image/{kind}": {"schema": BINARY} for kind in ("jpeg", "png", "webp")}
    body = {
        "required": True,
        "content": pictures | {_JSON: _schema("Picture"), "multipart/form-data": _schema("PictureForm")},
    }
    answers = {"200": _answer({_JSON: _schema("Predictions")})} | error_responses(*_POST_ERRORS)
    return {"post": _operation("pictures", "Classify a picture", answers, parameters=(*parameters, "top_k"), body=body)}


def _v1_infer() -> dict[str, Any]:
    either = {"oneOf": [ref("schemas", "NamedTensorsRequest"), ref("schemas", "RowsRequest")]}
    body = {"required": True, "content": {_JSON: {"schema": either}}}
    answers = {"200": _answer({_JSON: _schema("NamedTensorsResponse")})} | error_responses(*_POST_ERRORS)
    return {"post": _operation("goserve", "Run the model", answers, parameters=("model",), body=body)}


def _v1_load() -> dict[str, Any]:
    body = {"required": True, "content": {_JSON: _schema("LoadRequest")}}
    answers = {"201": _answer({_JSON: _schema("Model")}, description="Loaded.")} | error_responses(*_POST_ERRORS)
    summary = "Load a prepared model folder of the repository; 404 unless ADMIN_KEY is set and sent"
    return {"post": _operation("goserve", summary, answers, body=body, security=[{"AdminKey": []}])}


def _index() -> dict[str, Any]:
    body = {"required": False, "content": {_JSON: _schema("IndexRequest")}}
    answers = {"200": _answer({_JSON: _schema("Index")})} | error_responses(*_POST_ERRORS)
    return {"post": _operation("protocol", "All models of the repository", answers, body=body)}


def _ready() -> dict[str, Any]:
    operation = _get("protocol", "Whether the default model can be served", "Ready")
    operation["get"]["responses"]["503"] = _answer({_JSON: _schema("Ready")}, description="Not ready, and why.")
    return operation


def _paths() -> dict[str, Any]:
    unknown = (404, 503)
    versioned = ("model", "version")
    metrics = {"200": _answer({"text/plain": {"schema": STRING}})} | error_responses(404, 405, 500)
    paths = {
        "/": _get("server", "Name and version", "Server"),
        "/openapi.json": {
            "get": _operation(
                "server",
                "This document",
                {"200": _answer({_JSON: {"schema": {"type": "object"}}})} | error_responses(405, 500),
            )
        },
        "/health": _get("goserve", "Whether the process answers", "Status"),
        "/ready": _get("goserve", "Whether the default model can be served", "Status", errors=unknown),
        "/metrics": {"get": _operation("goserve", "Prometheus text; 404 on Lambda, where the log has them", metrics)},
        "/v1/models": _get("goserve", "The models that can be served", "Models", errors=(503,)) | _v1_load(),
        "/v1/models/{model}/infer": _v1_infer(),
        "/v1/models/{model}/classify": _classify("model"),
        "/classify": _classify(),
        "/v2": _get("protocol", "Server metadata", "ServerMetadata"),
        "/v2/health/live": _get("protocol", "Whether the process answers", "Live"),
        "/v2/health/ready": _ready(),
        "/v2/repository/index": _index(),
    }
    for base, parameters in (
        ("/v2/models/{model}", ("model",)),
        ("/v2/models/{model}/versions/{version}", versioned),
    ):
        paths[base] = _get("protocol", "What the model takes and gives", "ModelMetadata", *parameters, errors=unknown)
        paths[f"{base}/ready"] = _get(
            "protocol", "Whether the model can be served", "ModelReady", *parameters, errors=unknown
        )
        paths[f"{base}/infer"] = _infer(*parameters)
    return paths


@cache
def document(version: str) -> bytes:
    """The document as JSON; `version` is that of the API."""
    description = (
        'One contract behind an AWS Lambda function URL and a plain HTTP server. Errors are {"error": message}. '
        "HEAD is answered wherever GET is."
    )
    return json.dumps(
        {
            "openapi": "3.1.1",
            "info": {"title": "zeroserve", "version": version, "description": description},
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": _paths(),
            "components": {
                "schemas": SCHEMAS,
                "parameters": PARAMETERS,
                "headers": HEADERS,
                "responses": RESPONSES,
                "securitySchemes": {"AdminKey": {"type": "apiKey", "in": "header", "name": "X-Admin-Key"}},
            },
        },
        separators=(",", ":"),
    ).encode()
