"""Manifests against the schemas that packages carry, and against infra.hardening; infra.validate runs this.

It is run in the environments that have those packages.

python -m infra.manifests {knative,kserve-pod,kserve,compose} FILE
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from infra import hardening

# Knative's RevisionSpec: a PodSpec and these (knative.dev/docs/serving/reference/serving-api).
REVISION = {"containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"}
# What KServe's predictor adds to a PodSpec, of what is used here.
PREDICTOR = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "containerConcurrency", "timeout", "labels"}
COMPOSE_SERVICE = {
    *("image", "command", "ports", "read_only", "tmpfs", "cap_drop", "security_opt", "cpus", "mem_limit"),
    "pids_limit",
}


class ManifestError(Exception):
    """Where a manifest breaks its schema, and how."""


def check_pod(spec: dict[str, Any], others: set[str]) -> None:
    """A PodSpec by the newest schema of kubernetes-validate; unknown fields are errors. `others` are not a pod's."""
    pod = {key: value for key, value in spec.items() if key not in others}
    _validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod})
    hardening.check_pod(pod)


def _validate(document: dict[str, Any]) -> None:
    validate: Any = importlib.import_module("kubernetes_validate")
    validate.validate(document, validate.latest_version(), strict=True)


def check_policy(policy: dict[str, Any], pod_labels: dict[str, str]) -> None:
    """A NetworkPolicy by its schema, and by what it lets through to and from the pods with `pod_labels`."""
    _validate(policy)
    hardening.check_policy(policy, pod_labels)


def split(documents: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is deployed, and its NetworkPolicy: in one file, so that one command applies both."""
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    others = [each for each in documents if each["kind"] != "NetworkPolicy"]
    if (len(policies), len(others)) != (1, 1):
        raise ManifestError(f"one NetworkPolicy and one other document are expected, not {len(documents)} documents")
    return others[0], policies[0]


def check_knative(document: dict[str, Any], policy: dict[str, Any]) -> None:
    """A Knative Service: its wrapper by name, its pod by schema."""
    _only(document, {"apiVersion", "kind", "metadata", "spec"}, "")
    _only(document["spec"], {"template", "traffic"}, "spec.")
    template = document["spec"]["template"]
    _only(template, {"metadata", "spec"}, "spec.template.")
    if (document["apiVersion"], document["kind"]) != ("serving.knative.dev/v1", "Service"):
        raise ManifestError("a serving.knative.dev/v1 Service is expected")
    check_pod(template["spec"] | {"containers": _named(document)}, REVISION)
    check_policy(policy, template["metadata"].get("labels", {}))


def _named(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Knative names a single container itself; a pod needs the name."""
    return [{"name": "user-container", **each} for each in document["spec"]["template"]["spec"]["containers"]]


def check_kserve(document: dict[str, Any]) -> None:
    """An InferenceService by the models of KServe's SDK: known fields, required ones, types."""
    _model(document, "V1beta1InferenceService", "")


def check_compose(document: dict[str, Any]) -> None:
    """Every service has keys that are meant, and is as closed as infra.hardening asks."""
    for name, service in document["services"].items():
        _only(service, COMPOSE_SERVICE, f"services.{name}.")
        hardening.check_service(name, service)


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
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    if kind == "compose":
        check_compose(documents[0])
        return
    document, policy = split(documents)
    if kind == "knative":
        check_knative(document, policy)
    elif kind == "kserve-pod":
        check_pod(document["spec"]["predictor"], PREDICTOR)
        check_policy(policy, document["spec"]["predictor"].get("labels", {}))
    else:
        check_kserve(document)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
