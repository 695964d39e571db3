"""/openapi.json says what the core does: every route, status, header and schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from function.errors import STATUS_OF_CODE
from function.routes import openapi
from function.routes.table import ROUTES
from function.settings import VERSION
from tests.contract.entries.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.entries.wire import Wire

DOCUMENT = json.loads(openapi.document(VERSION))
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: dict[str, Any] = DOCUMENT
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_both_entries_serve_it(wire: Wire) -> None:
    answer = wire.get("/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["version"] == VERSION


def test_it_has_every_route_and_no_other() -> None:
    assert sorted(OPERATIONS) == sorted((route.method, route.path) for route in ROUTES)


@pytest.mark.parametrize("route", OPERATIONS, ids=[" ".join(route) for route in OPERATIONS])
def test_an_operation_is_complete(route: tuple[str, str]) -> None:
    method, path = route
    operation = OPERATIONS[route]
    assert operation["summary"]
    parameters = [resolved(each) for each in operation["parameters"]]
    in_path = {each["name"] for each in parameters if each["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
    statuses = {int(status) for status in operation["responses"]}
    assert statuses <= {200, 201, *STATUS_OF_CODE.values()}
    assert {405, 500} <= statuses
    assert method == "GET" or {400, 404, 405, 413, 415, 500, 503} <= statuses
    assert ("requestBody" in operation) == (method == "POST")
    for response in operation["responses"].values():
        assert "Server-Timing" in resolved(response)["headers"]
        for content in resolved(response)["content"].values():
            assert "schema" in content


def test_every_reference_has_its_component_and_every_component_is_referred_to() -> None:
    used = {each["$ref"] for each in walk(DOCUMENT) if "$ref" in each}
    defined = {
        f"#/components/{kind}/{name}"
        for kind, components in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for name in components
    }
    assert used == defined


def test_an_inference_does_not_pay_for_it() -> None:
    command = "import sys, function.handler; print([name for name in sys.modules if 'openapi' in name])"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
