"""The parts of the OpenAPI document: schemas of bodies, parameters, headers and error answers."""

from __future__ import annotations

from function.tensor import DATATYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STRING, BOOLEAN, INTEGER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
WHOLE = {"type": "integer", "minimum": 0}
BINARY: dict[str, Any] = {}  # OpenAPI 3.1: bytes have no schema


def ref(kind: str, name: str) -> dict[str, str]:
    """A reference to a component, such as ref("schemas", "Error")."""
    return {"$ref": f"#/components/{kind}/{name}"}


def array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def record(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object with these properties and no others; all required but for the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _nullable(kind: str, **rest: Any) -> dict[str, Any]:
    return {"type": [kind, "null"], **rest}


def _parameters(**known: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the protocol: those with a meaning here, and any scalar of the caller's own."""
    return _nullable("object", properties=known, additionalProperties={"type": ["string", "number", "boolean", "null"]})


_DATATYPE, _SHAPE = one_of(*DATATYPES), array({"type": "integer", "minimum": -1})
_DATA = ref("schemas", "TensorData")

SCHEMAS: dict[str, Any] = {
    "Error": record({"error": STRING}),
    "TensorData": array({"anyOf": [{"type": ["number", "string", "boolean"]}, _DATA]})
    | {"description": "Flat in row-major order, or nested exactly as the shape."},
    "Server": record({"name": STRING, "version": STRING, "message": STRING}),
    "ServerMetadata": record({"name": STRING, "version": STRING, "extensions": array(STRING)}),
    "Live": record({"live": BOOLEAN}),
    "Ready": record({"live": BOOLEAN, "ready": BOOLEAN, "error": STRING}, ("error",)),
    "TensorMetadata": record({"name": STRING, "datatype": _DATATYPE, "shape": _SHAPE}),
    "ModelMetadata": record(
        {
            "name": STRING,
            "versions": array(STRING),
            "platform": STRING,
            "inputs": array(ref("schemas", "TensorMetadata")),
            "outputs": array(ref("schemas", "TensorMetadata")),
        }
    ),
    "ModelReady": record({"name": STRING, "ready": BOOLEAN}),
    "RequestInput": record(
        {
            "name": STRING,
            "datatype": _DATATYPE,
            "shape": array(WHOLE),
            "parameters": _parameters(binary_data_size=WHOLE),
            "data": {"anyOf": [_DATA, {"type": "null"}]},
        },
        ("parameters", "data"),
    ),
    "RequestOutput": record(
        {
            "name": STRING,
            "parameters": _parameters(binary_data=BOOLEAN, classification={"type": "integer", "minimum": 1}),
        },
        ("parameters",),
    ),
    "InferenceRequest": record(
        {
            "id": _nullable("string"),
            "model_name": _nullable("string"),
            "model_version": _nullable("string"),
            "parameters": _parameters(binary_data_output=BOOLEAN),
            "inputs": array(ref("schemas", "RequestInput")),
            "outputs": _nullable("array", items=ref("schemas", "RequestOutput")),
        },
        ("id", "model_name", "model_version", "parameters", "outputs"),
    ),
    "ResponseOutput": record(
        {
            "name": STRING,
            "datatype": _DATATYPE,
            "shape": array(WHOLE),
            "parameters": record({"binary_data_size": WHOLE}),
            "data": _DATA,
        },
        ("parameters", "data"),
    ),
    "InferenceResponse": record(
        {
            "model_name": STRING,
            "model_version": STRING,
            "id": STRING,
            "outputs": array(ref("schemas", "ResponseOutput")),
        },
        ("id",),
    ),
    "IndexRequest": record({"ready": BOOLEAN}, ("ready",)),
    "Index": array(
        record({"name": STRING, "version": STRING, "state": one_of("READY", "UNAVAILABLE"), "reason": STRING})
    ),
    "Status": record({"status": one_of("ok", "ready")}),
    "Model": record(
        {"name": STRING, "path": STRING, "input_nodes": array(STRING), "output_nodes": array(STRING)},
    ),
    "Models": record({"models": array(ref("schemas", "Model"))}),
    "LoadRequest": record({"name": STRING, "path": STRING}),
    "NamedTensorsRequest": record({"tensors": {"type": "object", "additionalProperties": _DATA}}),
    "RowsRequest": record({"inputs": _DATA}),
    "NamedTensorsResponse": record(
        {
            "model_name": STRING,
            "outputs": {"type": "object", "additionalProperties": {"type": ["array", "number", "string", "boolean"]}},
        }
    ),
    "Picture": record({"image": STRING | {"contentEncoding": "base64", "description": "Base64 or a data URL."}}),
    "PictureForm": {"type": "object", "properties": {"image": BINARY}, "required": ["image"]},
    "Predictions": record(
        {
            "model_name": STRING,
            "predictions": array(
                record({"label": STRING, "index": WHOLE, "probability": {"type": "number"}}),
            ),
        }
    ),
}


def _parameter(place: str, name: str, schema: dict[str, Any], description: str, **rest: Any) -> dict[str, Any]:
    return {"in": place, "name": name, "schema": schema, "description": description, **rest}


PARAMETERS = {
    "model": _parameter(
        "path", "model", STRING | {"minLength": 1}, "Name of a model of the repository.", required=True
    ),
    "version": _parameter(
        "path", "version", STRING | {"minLength": 1}, "The one version that the model has.", required=True
    ),
    "top_k": _parameter(
        "query", "top_k", {"type": "integer", "minimum": 1, "maximum": 999999, "default": 5}, "How many classes."
    ),
    "HeaderLength": _parameter(
        "header",
        "Inference-Header-Content-Length",
        WHOLE,
        "Length in bytes of the JSON that comes before binary data, after inflating. "
        "0: the body is the raw data of the only input.",
    ),
    "ContentEncoding": _parameter(
        "header", "Content-Encoding", STRING, "How the body is compressed: gzip, deflate or identity."
    ),
    "TraceParent": _parameter(
        "header", "traceparent", STRING, "W3C Trace Context: the caller's trace, for the log; traceresponse answers it."
    ),
    "AcceptEncoding": _parameter(
        "header", "Accept-Encoding", STRING, "gzip and deflate are given, to inferences of 1,024 bytes or more."
    ),
}


EVERYWHERE = ("Server-Timing", "traceresponse")  # headers of any answer


def _header(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"schema": schema, "description": description}


HEADERS = {
    "Server-Timing": _header(STRING, "Milliseconds of init, load, decode, infer and encode; cold on a first answer."),
    "traceresponse": _header(STRING, "W3C Trace Context: the caller's trace and this request's span."),
    "Content-Encoding": _header(one_of("gzip", "deflate"), "How the answer is compressed."),
    "Vary": _header(STRING, "Accept-Encoding, where the answer is compressed."),
    "Inference-Header-Content-Length": _header(WHOLE, "Length of the JSON before binary data."),
    "Allow": _header(STRING, "The methods of this path."),
    "Retry-After": _header(WHOLE, "Seconds to wait, where more requests wait than QUEUE_SIZE."),
}

_ERRORS = {
    400: ("BadRequest", "The input cannot be used: the message says what was expected and what came.", ()),
    404: ("NotFound", "There is no such route, model or version.", ()),
    405: ("MethodNotAllowed", "The path has other methods.", ("Allow",)),
    413: ("TooLarge", "The body, what it inflates to, the picture or the answer is over a limit.", ()),
    415: ("UnsupportedMediaType", "The Content-Encoding or the kind of picture is not supported.", ()),
    500: ("Internal", "A defect; the log says where.", ()),
    503: ("Unavailable", "The model is not prepared or does not load, or too many requests wait.", ("Retry-After",)),
}
RESPONSES = {
    name: {
        "description": description,
        "headers": {header: ref("headers", header) for header in (*EVERYWHERE, *headers)},
        "content": {"application/json": {"schema": ref("schemas", "Error")}},
    }
    for name, description, headers in _ERRORS.values()
}


def error_responses(*statuses: int) -> dict[str, Any]:
    """The error answers of an operation, by status."""
    return {str(status): ref("responses", _ERRORS[status][0]) for status in statuses}
