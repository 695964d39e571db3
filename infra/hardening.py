"""What a manifest must say beyond its schema: the image by digest, no privileges, bounded disk, memory and network."""

from __future__ import annotations

import re
from typing import Any

from infra.pin import BY_DIGEST

# What a container may do: nothing that serving does not need.
SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESOURCES = ("cpu", "memory", "ephemeral-storage")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# Where requests reach a pod: the server, and Knative's queue-proxy before it, in the clear and by TLS.
SERVING = {8012, 8080, 8112}
AUTOSCALING = 9090  # where Knative's autoscaler reads the number of requests
EGRESS = {(53, "UDP"), (53, "TCP"), (443, "TCP")}
COMPOSE: dict[str, Any] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


class HardeningError(Exception):
    """Where a manifest leaves something open, and what is expected there."""


def _expect(where: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise HardeningError(f"{where} is {found!r}; {expected!r} is expected")


def check_pod(spec: dict[str, Any]) -> None:
    """A PodSpec: each container's image, rights, limits and probes, and the size of what is written to."""
    _expect("automountServiceAccountToken", spec.get("automountServiceAccountToken"), False)
    for container in spec["containers"]:
        if not BY_DIGEST.fullmatch(container["image"]):
            raise HardeningError(f"image is {container['image']!r}; NAME@sha256:DIGEST is expected, for a tag moves")
        for key, expected in SECURITY.items():
            _expect(f"securityContext.{key}", container.get("securityContext", {}).get(key), expected)
        for kind in ("requests", "limits"):
            if missing := set(RESOURCES) - set(container.get("resources", {}).get(kind, {})):
                raise HardeningError(f"resources.{kind} has no {', '.join(sorted(missing))}")
        if missing := set(PROBES) - set(container):
            raise HardeningError(f"a container has no {', '.join(sorted(missing))}")
    for volume in spec["volumes"]:
        if "sizeLimit" not in (volume.get("emptyDir") or {}):
            raise HardeningError(
                f"the volume {volume['name']} has no emptyDir.sizeLimit: it could fill the node's disk"
            )


def check_policy(policy: dict[str, Any], labels: dict[str, str]) -> None:
    """A NetworkPolicy for the pods with `labels`: requests in, DNS and HTTPS out, nothing else."""
    spec = policy["spec"]
    selected = spec["podSelector"].get("matchLabels", {})
    if not selected or not selected.items() <= labels.items():
        raise HardeningError(f"podSelector {selected} does not select the pods, whose labels are {labels}")
    _expect("policyTypes", sorted(spec.get("policyTypes", [])), ["Egress", "Ingress"])
    inward, outward = (_ports(spec, direction) for direction in ("ingress", "egress"))
    if not {port for port, _ in inward} & SERVING:
        raise HardeningError(f"ingress lets no request in; one of the ports {sorted(SERVING)} is expected")
    if unknown := {port for port, _ in inward} - SERVING - {AUTOSCALING}:
        raise HardeningError(f"ingress opens {sorted(unknown)}; only {sorted(SERVING | {AUTOSCALING})} are expected")
    for rule in spec["ingress"]:
        if "from" not in rule and AUTOSCALING in {port["port"] for port in rule["ports"]}:
            raise HardeningError(f"ingress opens {AUTOSCALING} to everybody; it is for the autoscaler's namespace")
    if beyond := outward - EGRESS:
        raise HardeningError(f"egress opens {sorted(beyond)}; only {sorted(EGRESS)} are expected")


def _ports(spec: dict[str, Any], direction: str) -> set[tuple[int, str]]:
    """The ports of all rules of a direction; a rule without any would open them all."""
    found = set()
    for rule in spec.get(direction, []):
        if not rule.get("ports"):
            raise HardeningError(f"a rule of {direction} names no ports, so it opens all of them")
        for port in rule["ports"]:
            if "port" not in port or "endPort" in port:
                raise HardeningError(f"{direction} has {port}, which is not one port")
            found.add((port["port"], port.get("protocol", "TCP")))
    return found


def check_service(name: str, service: dict[str, Any]) -> None:
    """A service of the compose file: no rights, bounded memory, processes and /tmp; ports on loopback by default."""
    where = f"services.{name}"
    for key, expected in COMPOSE.items():
        _expect(f"{where}.{key}", service.get(key), expected)
    if not all(re.fullmatch(r"/tmp:.*\bsize=\d+m\b.*", entry) for entry in service.get("tmpfs") or [""]):  # noqa: S108
        raise HardeningError(f"{where}.tmpfs is {service.get('tmpfs')}; /tmp:size=...m is expected, for it is memory")
    for key in ("mem_limit", "pids_limit", "cpus"):
        if not service.get(key):
            raise HardeningError(f"{where}.{key} is missing")
    for port in service["ports"]:
        if not re.fullmatch(r"\$\{BIND_ADDRESS:-127\.0\.0\.1\}:\d+:8080", port):
            raise HardeningError(f"{where}.ports: {port!r} should be ${{BIND_ADDRESS:-127.0.0.1}}:PORT:8080")
