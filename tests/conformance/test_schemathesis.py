"""Requests that schemathesis makes of /openapi.json, valid and not: no 5xx, no answer outside the document."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from function.routes.openapi import document
from tests.contract.entries.servers import ENTRIES
from tests.contract.entries.valid import VALID

if TYPE_CHECKING:
    from schemathesis import Case

VERSION = "any"
MIXED = "/v2/models/mixed"
GETS = (
    "/",
    "/openapi.json",
    "/health",
    "/ready",
    "/v1/models",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    *(f"{base}{rest}" for base in (MIXED, f"{MIXED}/versions/1") for rest in ("", "/ready")),
)
# None of them takes a raw body: such a request is right whatever its JSON says.
MODELS = ("mixed", "echo_fp32", "mymodel")
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
)


def pictures() -> st.SearchStrategy[bytes]:
    def encoded(kind: str, size: tuple[int, int]) -> bytes:
        out = io.BytesIO()
        Image.new("RGB", size, "red").save(out, kind)
        return out.getvalue()

    sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
    return st.binary(max_size=64) | st.builds(encoded, st.sampled_from(["JPEG", "PNG", "WEBP"]), sizes)


for media_type in ("image/jpeg", "image/png", "image/webp"):
    schemathesis.openapi.media_type(media_type, pictures())
schemathesis.openapi.media_type("application/octet-stream", st.binary(max_size=256))


# What /openapi.json serves: tests/contract/entries/test_openapi.py compares the two.
SCHEMA = schemathesis.openapi.from_dict(json.loads(document(VERSION)))


@SCHEMA.parametrize()  # type: ignore[untyped-decorator]
@settings(
    max_examples=50,
    derandomize=True,  # the same requests in each run
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_answer_is_outside_the_document(case: Case, addresses: dict[str, str]) -> None:
    # Random names are unknown models: half of the requests go to one that is there.
    if "model" in case.path_parameters and len(str(case.path_parameters["model"])) % 2:
        case.path_parameters["model"] = MODELS[len(str(case.path_parameters)) % len(MODELS)]
    case.call_and_validate(base_url=addresses["asgi"], checks=list(CHECKS))


def declared(method: str, path: str) -> Any:
    """The operation of a path."""
    pattern = re.sub("/versions/[^/]+", "/versions/{version}", re.sub("/models/[^/:]+", "/models/{model}", path))
    return SCHEMA[pattern][method]


@pytest.mark.parametrize("entry", ENTRIES)
def test_answers_to_valid_requests_are_as_the_document_says(addresses: dict[str, str], entry: str) -> None:
    for valid in VALID:
        response = requests.post(addresses[entry] + valid.path, valid.body, headers=dict(valid.headers), timeout=60)
        assert response.status_code == 200
        declared("POST", valid.path).validate_response(response)
    for path in GETS:
        response = requests.get(addresses[entry] + path, timeout=60)
        assert response.status_code == 200
        declared("GET", path).validate_response(response)
