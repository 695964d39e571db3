"""Manifests against the schemas that packages carry; run by infra.validate in the environments that have these.

python -m infra.manifests {knative,kserve-pod,kserve,compose} FILE
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

# Knative's RevisionSpec: a PodSpec and these (knative.dev/docs/serving/reference/serving-api).
REVISION = {"containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"}
# What KServe's predictor adds to a PodSpec, of what is used here.
PREDICTOR = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "containerConcurrency", "timeout"}
COMPOSE_SERVICE = {
    *("image", "command", "ports", "read_only", "tmpfs", "cap_drop", "security_opt", "cpus", "mem_limit"),
}


class ManifestError(Exception):
    """Where a manifest breaks its schema, and how."""


def check_pod(spec: dict[str, Any], others: set[str]) -> None:
    """A PodSpec by the newest schema of kubernetes-validate; unknown fields are errors. `others` are not a pod's."""
    validate: Any = importlib.import_module("kubernetes_validate")
    pod = {key: value for key, value in spec.items() if key not in others}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}
    validate.validate(document, validate.latest_version(), strict=True)


def check_knative(document: dict[str, Any]) -> None:
    """A Knative Service: its wrapper by name, its pod by schema."""
    _only(document, {"apiVersion", "kind", "metadata", "spec"}, "")
    _only(document["spec"], {"template", "traffic"}, "spec.")
    _only(document["spec"]["template"], {"metadata", "spec"}, "spec.template.")
    if (document["apiVersion"], document["kind"]) != ("serving.knative.dev/v1", "Service"):
        raise ManifestError("a serving.knative.dev/v1 Service is expected")
    check_pod(document["spec"]["template"]["spec"] | {"containers": _named(document)}, REVISION)


def _named(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Knative names a single container itself; a pod needs the name."""
    return [{"name": "user-container", **each} for each in document["spec"]["template"]["spec"]["containers"]]


def check_kserve(document: dict[str, Any]) -> None:
    """An InferenceService by the models of KServe's SDK: known fields, required ones, types."""
    _model(document, "V1beta1InferenceService", "")


def check_compose(document: dict[str, Any]) -> None:
    """Every service has an image, keys that are meant, and ports on loopback only."""
    for name, service in document["services"].items():
        _only(service, COMPOSE_SERVICE, f"services.{name}.")
        for port in service["ports"]:
            if not re.fullmatch(r"127\.0\.0\.1:\d+:8080", port):
                raise ManifestError(f"services.{name}.ports: {port!r} should be 127.0.0.1:PORT:8080")


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := set(table) - known:
        raise ManifestError(f"{where}{min(unknown)} is unknown; known are {', '.join(sorted(known))}")


def _model(value: Any, kind: str, where: str) -> Any:
    """`value` as an instance of the SDK's `kind`, which a constructor checks for required fields."""
    if found := re.fullmatch(r"[lL]ist\[(.+)\]", kind):
        if not isinstance(value, list):
            raise ManifestError(f"{where} should be a list")
        return [_model(each, found[1], f"{where}[{index}]") for index, each in enumerate(value)]
    if found := re.fullmatch(r"(?:dict\(|Dict\[)str, (.+)[\])]", kind):
        return {key: _model(value[key], found[1], f"{where}.{key}") for key in value}
    if kind in ("object", "datetime", "IntOrString", "ResourceQuantity"):
        return value
    plain: Any = {"str": str, "int": int, "bool": bool, "float": (int, float)}.get(kind)
    if plain:
        if not isinstance(value, plain):
            raise ManifestError(f"{where} is {value!r}; {kind} is expected")
        return value
    modules: list[Any] = [importlib.import_module("kserve.models"), importlib.import_module("kubernetes.client")]
    cls = next((getattr(module, kind) for module in modules if hasattr(module, kind)), None)
    if cls is None:
        raise ManifestError(f"{where} is a {kind}, which neither kserve nor the kubernetes client has")
    attributes = {name: attribute for attribute, name in cls.attribute_map.items()}
    _only(value, set(attributes), f"{where}.")
    fields = {attributes[key]: (each, key) for key, each in value.items()}
    types = cls.openapi_types
    return cls(**{name: _model(each, types[name], f"{where}.{key}") for name, (each, key) in fields.items()})


def main(kind: str, path: Path) -> None:
    """Exits with a message when the manifest is not in order."""
    yaml: Any = importlib.import_module("yaml")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if kind == "knative":
        check_knative(document)
    elif kind == "kserve-pod":
        check_pod(document["spec"]["predictor"], PREDICTOR)
    elif kind == "kserve":
        check_kserve(document)
    else:
        check_compose(document)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
