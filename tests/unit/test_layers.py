"""Who may import whom in function/: one way down, without circles; imports for types count as well."""

from __future__ import annotations

import ast
import graphlib
import sys
from pathlib import Path

import pytest

FUNCTION = Path(__file__).parents[2] / "function"

# From the top: a room may import from its own row where the row allows it, and from every row below.
FLOORS: tuple[tuple[set[str], bool], ...] = (
    ({"handler", "asgi"}, False),
    ({"events", "server"}, False),
    ({"app"}, False),
    ({"routes"}, False),
    ({"codecs"}, False),
    ({"engine"}, False),
    ({"cache"}, False),
    ({"aws", "observability"}, False),
    ({"native", "tensor", "messages", "settings", "errors", "concurrency", "limits"}, True),
)
FLOOR_OF = {room: number for number, (rooms, _) in enumerate(FLOORS) for room in rooms}

# What is not in the standard library -> who may import it. So numpy and onnxruntime stay out.
THIRD_PARTY = {
    "PIL": {"codecs.image"},
    "snapshot_restore_py": {"engine.snapstart"},
    "pybase64": {"cache.dynamodb", "events.http_event", "codecs.image"},
    "httptools": {"server.heads", "server.uvicorn_protocol"},
    "uvicorn": {
        "server.__main__",
        "server.cycle",
        "server.graceful",
        "server.heads",
        "server.receiver",
        "server.uvicorn_protocol",
    },
}

MODULES = sorted(
    path.relative_to(FUNCTION).with_suffix("").as_posix().replace("/", ".")
    for path in FUNCTION.rglob("*.py")
    if path.stem != "__init__"
)


def imports_of(module: str) -> set[str]:
    """The dotted names that a module imports: at its top, inside a function, or for type checkers alone."""
    tree = ast.parse((FUNCTION / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import; write from function.x import y"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner.removeprefix("function.") in MODULES else node.module or "")
    return found - {"__future__"}


def own_imports(module: str) -> set[str]:
    return {name.removeprefix("function.") for name in imports_of(module) if name.startswith("function.")}


def test_every_module_has_a_floor() -> None:
    rooms = {module.partition(".")[0] for module in MODULES}
    assert rooms == set(FLOOR_OF), "add the room to FLOORS here, to pyproject.toml and to function/README.md"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way_down(module: str) -> None:
    room = module.partition(".")[0]
    floor = FLOOR_OF[room]
    wrong = []
    for name in own_imports(module):
        other = name.partition(".")[0]
        if other != room and not (FLOOR_OF[other] > floor or (FLOOR_OF[other] == floor and FLOORS[floor][1])):
            wrong.append(name)
    assert not wrong, f"{module} imports upwards: {wrong}"


def test_no_circles() -> None:
    graph = {module: own_imports(module) for module in MODULES}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_third_party_modules_stay_where_they_belong(module: str) -> None:
    for name in imports_of(module):
        top = name.partition(".")[0]
        if top != "function" and top not in sys.stdlib_module_names and top != "typing_extensions":
            assert module in THIRD_PARTY.get(top, set()), f"{module} imports {name}"


def test_the_parser_of_this_test_sees_lazy_imports_and_those_of_type_checkers() -> None:
    assert "function.engine.golden" in imports_of("engine.model")  # inside a method
    assert "function.settings" in imports_of("engine.model")  # under TYPE_CHECKING


def test_the_lambda_entry_is_short() -> None:
    assert len((FUNCTION / "handler.py").read_text(encoding="utf-8").splitlines()) < 80
