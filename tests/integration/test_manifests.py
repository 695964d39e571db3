"""The checks of `make validate` find what is wrong in the manifests, which are right as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra import pin, venvs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python() -> str:
    return str(venvs.ensure("ops"))


KNATIVE = ("knative", "infra/knative/service.yaml")
KSERVE = ("kserve-pod", "infra/kserve/inference_service.yaml")
COMPOSE = ("compose", "infra/compose.yaml")
DIGEST = "0" * 64
PORTS = """        - port: 8012
"""
EGRESS = """    - ports:
        - port: 53
          protocol: UDP
"""

# what is right -> the slip, and what is said about it
SCHEMA = [
    (KNATIVE, "readOnlyRootFilesystem", "readOnlyRootFileSystem", "readOnlyRootFileSystem"),
    (KNATIVE, "containerConcurrency: 4", "containerParallelism: 4", "containerParallelism"),
    (KNATIVE, "containerPort: 8080", "containerPort: http", "'http' is not of type"),
    (KNATIVE, "kind: Service", "kind: Deployment", "a serving.knative.dev/v1 Service"),
    (KSERVE, "drop: [ALL]", "dropped: [ALL]", "dropped"),
    (COMPOSE, "127.0.0.1}:8080:8080", "0.0.0.0}:8080:8080", "should be ${BIND_ADDRESS:-127.0.0.1}:PORT:8080"),
    (COMPOSE, "${BIND_ADDRESS:-127.0.0.1}:9000", "9000", "should be ${BIND_ADDRESS:-127.0.0.1}:PORT:8080"),
    (COMPOSE, "read_only", "readonly", "readonly is unknown"),
]
# of both Kubernetes manifests
HARDENING = [
    (f"zeroserve@sha256:{DIGEST}", "zeroserve:digits", "NAME@sha256:DIGEST is expected"),
    ("seccompProfile:\n", "seccompProfile: {type: Unconfined}\n#", "securityContext.seccompProfile is"),
    ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "securityContext.readOnlyRootFilesystem is"),
    ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "allowPrivilegeEscalation is True"),
    ("drop: [ALL]", "drop: [NET_RAW]", "securityContext.capabilities is"),
    ("runAsNonRoot: true", "runAsNonRoot: false", "securityContext.runAsNonRoot is False"),
    ("automountServiceAccountToken: false", "automountServiceAccountToken: true", "automountServiceAccountToken is"),
    (", ephemeral-storage: 64Mi", "", "resources.requests has no ephemeral-storage"),
    (", ephemeral-storage: 1Gi", "", "resources.limits has no ephemeral-storage"),
    ("sizeLimit: 512Mi", "medium: Memory", "the volume tmp has no emptyDir.sizeLimit"),
    ("startupProbe:", "livenessProbe: &again", "a container has no startupProbe"),
    ("kind: NetworkPolicy", "kind: NetworkPolice", "one NetworkPolicy and one other document are expected"),
    ("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", "policyTypes is ['Ingress']"),
    ("matchLabels:\n      app.kubernetes.io/name: zeroserve", "matchLabels: {app: web}", "does not select the pods"),
    (PORTS, PORTS + "        - port: 22\n", "ingress opens [22]"),
    (
        "        - port: 9090",
        "        - port: 9090\n    - ports:\n        - port: 9090",
        "ingress opens 9090 to everybody",
    ),
    ("  ingress:\n", "  ingress:\n    - {}\n", "a rule of ingress names no ports"),
    (EGRESS, f"    - {{}}\n{EGRESS}", "a rule of egress names no ports"),
    ("        - port: 443", "        - port: 443\n        - port: 80", "egress opens [(80, 'TCP')]"),
    ("        - port: 443", "        - port: 443\n          endPort: 65535", "which is not one port"),
    ("podSelector:", "podSelectors:", "podSelectors"),  # the schema's words
]
CLOSED = [
    (COMPOSE, "read_only: true", "read_only: false", "read_only is False; True is expected"),
    (COMPOSE, "cap_drop: [ALL]", "cap_drop: [NET_RAW]", "cap_drop is ['NET_RAW']"),
    (COMPOSE, "no-new-privileges:true", "no-new-privileges:false", "security_opt is"),
    (COMPOSE, "/tmp:size=256m,mode=1777", "/tmp", "/tmp:size=...m is expected"),
    (COMPOSE, "  pids_limit: 256", "", "services.server.pids_limit is missing"),
    (COMPOSE, "    mem_limit: 1g", "", "services.server.mem_limit is missing"),
    (COMPOSE, "    mem_limit: 1769m", "", "services.lambda.mem_limit is missing"),
]
NAME = "app.kubernetes.io/name: "
LABELS = [
    (where, f"{NAME}zeroserve\n{after}", f"{NAME}web\n{after}", "does not select the pods, whose labels are")
    for where, after in ((KNATIVE, "      annotations"), (KSERVE, "    minReplicas"))
]
CASES = [*SCHEMA, *LABELS, *((where, *each) for where in (KNATIVE, KSERVE) for each in HARDENING), *CLOSED]


def check(python: str, kind: str, path: Path | str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "infra.manifests", kind, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("kind", "path"), [KNATIVE, KSERVE, COMPOSE])
def test_the_manifests_are_in_order(python: str, kind: str, path: str) -> None:
    done = check(python, kind, path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("where", "right", "wrong", "message"), CASES)
def test_a_slip_is_found(
    python: str, tmp_path: Path, where: tuple[str, str], right: str, wrong: str, message: str
) -> None:
    kind, path = where
    text = (ROOT / path).read_text()
    assert right in text
    (tmp_path / "broken.yaml").write_text(text.replace(right, wrong))
    done = check(python, kind, tmp_path / "broken.yaml")
    assert done.returncode == 1
    assert message in done.stderr


PUSHED = f"registry.example.com:5000/team/zeroserve@sha256:{'5e' * 32}"


@pytest.mark.parametrize(("kind", "path"), [KNATIVE, KSERVE])
def test_an_image_is_put_in_by_its_digest(python: str, tmp_path: Path, kind: str, path: str) -> None:
    command = [sys.executable, "-m", "infra.pin", PUSHED, path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = (ROOT / path).read_text().splitlines(), done.stdout.splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new.strip(" -") for _, new in changed] == [f"image: {PUSHED}"]
    (tmp_path / "pinned.yaml").write_text(done.stdout)
    assert check(python, kind, tmp_path / "pinned.yaml").returncode == 0


@pytest.mark.parametrize(
    "image",
    [
        "zeroserve",
        "registry.example.com/zeroserve:digits",
        f"zeroserve@sha256:{'5e' * 31}",
        f"{PUSHED}\n",
        f"x {PUSHED}",
    ],
)
def test_an_image_without_a_digest_is_refused(image: str) -> None:
    with pytest.raises(pin.PinError, match=re.escape(f"the image is {image!r}; NAME@sha256:")):
        pin.pinned("    image: x\n", image)


def test_pin_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("kind: Pod\n")
    for name, words in (("empty.yaml", "the manifest has no line `image:`"), ("none.yaml", "No such file")):
        command = [sys.executable, "-m", "infra.pin", PUSHED, str(tmp_path / name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr
