"""The checks of `make validate` find what is wrong; the manifests themselves are checked there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra import venvs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python() -> str:
    return str(venvs.ensure("ops"))


CASES = [
    (
        "knative",
        "infra/knative/service.yaml",
        "readOnlyRootFilesystem",
        "readOnlyRootFileSystem",
        "readOnlyRootFileSystem",
    ),
    (
        "knative",
        "infra/knative/service.yaml",
        "containerConcurrency: 4",
        "containerParallelism: 4",
        "containerParallelism",
    ),
    ("knative", "infra/knative/service.yaml", "containerPort: 8080", "containerPort: http", "'http' is not of type"),
    ("knative", "infra/knative/service.yaml", "kind: Service", "kind: Deployment", "a serving.knative.dev/v1 Service"),
    ("kserve-pod", "infra/kserve/inference_service.yaml", "drop: [ALL]", "dropped: [ALL]", "dropped"),
    ("compose", "infra/compose.yaml", "127.0.0.1:8080:8080", "8080:8080", "should be 127.0.0.1:PORT:8080"),
    ("compose", "infra/compose.yaml", "read_only", "readonly", "readonly is unknown"),
]


@pytest.mark.parametrize(("kind", "path", "right", "wrong", "message"), CASES)
def test_a_slip_is_found(
    python: str, tmp_path: Path, kind: str, path: str, right: str, wrong: str, message: str
) -> None:
    text = (ROOT / path).read_text()
    assert right in text
    command = [python, "-m", "infra.manifests", kind]
    assert subprocess.run([*command, path], cwd=ROOT, capture_output=True, check=False).returncode == 0
    (tmp_path / "broken.yaml").write_text(text.replace(right, wrong))
    done = subprocess.run([*command, tmp_path / "broken.yaml"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
