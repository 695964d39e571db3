"""POST /v1/models: loads a prepared folder of the repository, for the holder of the key alone."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from function.app import App
from function.cache.result_cache import ResultCache
from function.errors import PredictError
from function.exchange import Exchange
from function.messages import Request, Response
from function.settings import Settings
from function.tensor import InferInputs, Tensor
from tests.contract.entries.repository import echo
from tests.contract.entries.servers import ADMIN_KEY
from tests.contract.entries.wire import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from function.engine.repository import Metadata
    from tests.answer import Answer
    from tests.contract.entries.wire import Wire

KEY = {"X-Admin-Key": ADMIN_KEY}


@pytest.fixture(scope="module")
def wires(repository: Path) -> Iterator[dict[str, Wire]]:
    """Entries of these tests alone: what they load stays."""
    with connected(repository) as found:
        yield found


def load(wire: Wire, name: Any, path: Any) -> Answer:
    return wire.post("/v1/models", {"name": name, "path": path}, KEY)


def doubled(wire: Wire, name: str, values: list[int]) -> list[int]:
    answer = wire.infer(name, {"inputs": [{"name": "x", "datatype": "INT32", "shape": [len(values)], "data": values}]})
    assert answer.status == 200, answer.body
    found: list[int] = answer.json["outputs"][0]["data"]
    return found


def test_a_model_is_loaded_listed_and_replaced(wire: Wire, repository: Path) -> None:
    name = f"late_{wire.entry}"
    folder = repository / "shelf" / name
    assert wire.get(f"/v2/models/{name}").status == 404
    assert load(wire, name, f"shelf/{name}").status == 404
    echo(folder, "INT32", [-1])
    answer = load(wire, name, f"shelf/{name}")
    assert answer.status == 201
    assert answer.json == {"name": name, "path": str(folder), "input_nodes": ["x"], "output_nodes": ["y"]}
    assert answer.json in wire.get("/v1/models").json["models"]
    assert {"name": name, "version": "1", "state": "READY", "reason": ""} in wire.post("/v2/repository/index", b"").json
    assert wire.get(f"/v2/models/{name}/ready").json == {"name": name, "ready": True}
    assert doubled(wire, name, [1, -2]) == [1, -2]

    echo(folder, "INT32", [-1], operator="Neg")
    assert doubled(wire, name, [1, -2]) == [1, -2]
    assert load(wire, name, str(folder)).status == 201  # as GET /v1/models tells it
    assert doubled(wire, name, [1, -2]) == [-1, 2]

    (folder / "prepared" / "portable" / "artifact.json").unlink()
    for artifact in (folder / "prepared").glob("*/artifact.json"):
        artifact.unlink()
    refused = load(wire, name, f"shelf/{name}")
    assert refused.status == 503
    assert "zeroserve prepare" in refused.error
    assert doubled(wire, name, [1, -2]) == [-1, 2]  # nothing has changed


@pytest.mark.parametrize("loaded", [True, False])
def test_an_answer_is_never_paired_with_another_builds_version(tmp_path: Path, *, loaded: bool) -> None:
    """By a model that is replaced after a request has read its metadata."""
    echo(tmp_path / "swapped", "INT32", [-1])
    models = App(Settings({"MODEL_REPOSITORY": str(tmp_path), "MODEL_NAME": "swapped"})).inference
    metadata = models.metadata({})
    if loaded:
        models.models.get("swapped")
    echo(tmp_path / "swapped", "INT32", [-1], operator="Neg")
    if loaded:
        models.models.load("swapped", "swapped")
    tensor = Tensor("INT32", (1,), struct.pack("<i", 5))

    def answer(metadata: Metadata) -> tuple[int, ...]:
        exchange = Exchange(Request("POST", "", {}, {}, b""))
        outputs: dict[str, Tensor] = {}

        def encode(_decoded: InferInputs, found: dict[str, Tensor]) -> Response:
            outputs.update(found)
            return Response(200, {}, b"")

        models.respond(exchange, metadata, lambda: InferInputs({"x": tensor}), encode)
        return outputs["y"].numbers()

    with pytest.raises(PredictError, match="was replaced while this request was read; ask again") as caught:
        answer(metadata)
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
    assert answer(models.metadata({})) == (-5,)


def test_an_answer_is_never_stored_as_another_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is replaced between the look into the result cache and the run, and later replaced back."""
    variables = {"MODEL_REPOSITORY": str(tmp_path), "MODEL_NAME": "swapped", "RESULT_CACHE_BYTES": "100000"}
    app = App(Settings(variables))

    def load(operator: str) -> None:
        echo(tmp_path / "swapped", "INT32", [-1], operator=operator)
        app.inference.models.load("swapped", "swapped")

    def answer() -> list[int]:
        tensor = {"name": "x", "datatype": "INT32", "shape": [1], "data": [5]}
        request = Request("POST", "/v2/models/swapped/infer", {}, {}, json.dumps({"inputs": [tensor]}).encode())
        found: list[int] = json.loads(app.respond(Exchange(request)).body)["outputs"][0]["data"]
        return found

    load("Identity")
    look_up = ResultCache.get

    def replaced_after(*arguments: Any) -> Response | None:
        found = look_up(*arguments)
        load("Neg")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(ResultCache, "get", replaced_after)
        assert answer() == [-5]
    load("Identity")
    assert answer() == [5]


@pytest.mark.parametrize("path", ["/", "/etc", "..", "../..", "mixed/../../x", ".", "", "mixed/../", "a\0b", "outside"])
def test_a_path_outside_the_repository_is_refused(wire: Wire, repository: Path, path: str) -> None:
    link = repository / "outside"
    if not link.is_symlink():
        link.symlink_to(repository.parent)
    answer = load(wire, "mixed", path)
    assert answer.status == 400
    assert "inside the model repository" in answer.error


def test_a_sibling_whose_name_begins_alike_is_outside(wire: Wire, repository: Path) -> None:
    assert load(wire, "mixed", f"{repository}-2/mixed").status == 400


@pytest.mark.parametrize(
    ("name", "path", "status", "words"),
    [
        ("mixed", "nobody", 404, "no model 'mixed'"),
        ("mixed", "classes", 400, "classes holds the model 'classes', not 'mixed'"),
        ("unprepared", "unprepared", 503, "not prepared; run: zeroserve prepare"),
        ("damaged", "damaged", 503, "damaged"),
        ("mixed", "mixed/model.toml", 404, "no model 'mixed'"),
        ("a/b", "mixed", 404, "model names"),
        ("", "mixed", 404, "model names"),
        ("mixed", "x" * 400, 404, "no model 'mixed' in a folder of so long a name"),
        (5, "mixed", 400, "'name', a string"),
        ("mixed", None, 400, "'path', a string"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    wire: Wire, repository: Path, name: Any, path: Any, status: int, words: str
) -> None:
    answer = load(wire, name, path)
    assert answer.status == status
    assert words in answer.error
    assert str(repository) not in answer.error
    assert wire.get("/v2/models/mixed/ready").status == 200


def test_bodies_that_are_no_request_are_refused(wire: Wire) -> None:
    for body in (b"", b"{", b"[]", b"{}", b'{"name": "mixed", "path": "mixed", "more": 1}'):
        assert wire.post("/v1/models", body, KEY).status == 400


def test_without_the_key_there_is_no_such_route(wire: Wire) -> None:
    body = {"name": "mixed", "path": "mixed"}
    refusals = [
        wire.post("/v1/models", body, headers)
        for headers in (
            {},
            {"X-Admin-Key": ""},
            {"X-Admin-Key": "wrong"},
            {"X-Admin-Key": ADMIN_KEY[:-1]},
            {"X-Admin-Key": ADMIN_KEY + "x"},
            {"X-Admin-Key": "\xe9"},
            {"X-Admin-Key": "\xed\xa0\x80"},
            {"Authorization": f"Bearer {ADMIN_KEY}"},
        )
    ]
    assert {(answer.status, answer.body) for answer in refusals} == {(404, refusals[0].body)}
    assert "X-Admin-Key" in refusals[0].error


@pytest.mark.parametrize("sent", [None, "", "anything"])
def test_without_an_admin_key_the_route_is_off(repository: Path, sent: str | None) -> None:
    api = App(Settings({"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "mixed"}))
    headers = {} if sent is None else {"x-admin-key": sent}
    body = json.dumps({"name": "mixed", "path": "mixed"}).encode()
    response = api.respond(Exchange(Request("POST", "/v1/models", {}, headers, body)))
    assert response.status == 404
    assert not api.inference.models.loaded("mixed")
