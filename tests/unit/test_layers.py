"""Who may import whom in function/: one way down, no circles. function/README.md has the same table."""

from __future__ import annotations

import ast
import graphlib
import sys
from pathlib import Path

import pytest

FUNCTION = Path(__file__).parents[2] / "function"

# layer -> (its modules, the layers that they may import from)
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "ground": ({"background", "buffer", "cpu", "errors", "message", "settings", "tensor", "yyjson"}, {"ground"}),
    "services": (
        {
            "aws",
            "aws_credentials",
            "download",
            "dynamodb",
            "metrics",
            "result_cache",
            "s3",
            "shared_tier",
            "telemetry",
            "valkey",
        },
        {"ground", "services"},
    ),
    "engine": (
        {"artifact", "golden", "model_store", "ort", "ort_api", "registry", "repository", "session"},
        {"ground", "services", "engine"},
    ),
    "formats": (
        {
            "admin",
            "classify",
            "codec",
            "compression",
            "goserve",
            "image",
            "json_array",
            "json_body",
            "multipart",
            "oip",
            "oip_inputs",
            "oip_parameters",
            "oip_response",
            "openapi",
            "openapi_schemas",
        },
        {"ground", "formats"},
    ),
    "routes": ({"routes", "routes_v2"}, {"ground", "formats", "routes"}),
    "core": ({"api", "record_jobs", "unwrapped"}, {"ground", "services", "engine", "formats", "routes", "core"}),
    # Not from their own layer: adapters never import adapters.
    "adapters": ({"direct", "http_event", "records"}, {"ground", "core"}),
    "lifecycle": ({"memory", "snapstart"}, {"ground", "engine", "formats"}),
    "transport": ({"receive"}, {"ground"}),
    # Nothing imports an entry.
    "entries": ({"asgi", "handler", "server"}, {"ground", "services", "core", "adapters", "lifecycle", "transport"}),
}
LAYER_OF = {module: layer for layer, (modules, _) in LAYERS.items() for module in modules}

# What is not in the standard library -> who may import it. So numpy and onnxruntime stay out.
THIRD_PARTY = {
    "PIL": {"image"},
    "snapshot_restore_py": {"snapstart"},
    "pybase64": {"dynamodb", "http_event", "image"},
    "httptools": {"receive"},
    "starlette": {"asgi", "receive"},
    "uvicorn": {"receive", "server"},
}

MODULES = sorted(path.stem for path in FUNCTION.glob("*.py") if path.stem != "__init__")


def imports_of(module: str) -> set[str]:
    """The dotted names that a module imports when it runs, at its top or inside a function."""
    tree = ast.parse((FUNCTION / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        # What is under `if TYPE_CHECKING:` is for type checkers and never runs.
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import; write from function.x import y"
            source = node.module or ""
            if source == "function":
                found.update(f"function.{alias.name}" for alias in node.names)
            else:
                found.add(source)
    return found - {"__future__"}


def own_imports(module: str) -> set[str]:
    return {name.split(".")[1] for name in imports_of(module) if name.startswith("function.")}


def test_every_module_has_a_layer() -> None:
    assert sum(len(modules) for modules, _ in LAYERS.values()) == len(LAYER_OF), "a module is in two layers"
    assert set(MODULES) - set(LAYER_OF) == set(), "add the module to LAYERS here and to function/README.md"
    assert set(LAYER_OF) - set(MODULES) == set(), "a module of LAYERS is gone"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way_down(module: str) -> None:
    allowed = LAYERS[LAYER_OF[module]][1]
    wrong = {name: LAYER_OF.get(name) for name in own_imports(module) if LAYER_OF.get(name) not in allowed}
    assert not wrong, f"{module} ({LAYER_OF[module]}) may import from {sorted(allowed)} only"


def test_no_circles() -> None:
    graph = {module: own_imports(module) for module in MODULES}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_third_party_modules_stay_where_they_belong(module: str) -> None:
    for name in imports_of(module):
        top = name.partition(".")[0]
        if top != "function" and top not in sys.stdlib_module_names:
            assert module in THIRD_PARTY.get(top, set()), f"{module} imports {name}"


def test_the_parser_of_this_test_sees_lazy_imports_but_not_those_of_type_checkers() -> None:
    assert "function.golden" in imports_of("session")  # inside a method
    assert "function.oip" not in imports_of("oip_inputs")  # under TYPE_CHECKING


def test_the_lambda_entry_is_short() -> None:
    assert len((FUNCTION / "handler.py").read_text(encoding="utf-8").splitlines()) < 80


def test_the_readme_has_every_module_in_its_layer() -> None:
    rows = {}
    for line in (FUNCTION / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| ") and cells[1] in LAYERS:
            rows[cells[1]] = ({name.strip(" `") for name in cells[2].split(",")}, cells[3])
    for layer, (modules, allowed) in LAYERS.items():
        listed, below = rows[layer]
        assert listed == modules
        assert {name.strip() for name in below.split(",")} == allowed
