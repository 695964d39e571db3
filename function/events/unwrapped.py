"""A request without an HTTP envelope: JSON that says by its fields which route it is for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMS = '{"image"}, {"tensors"} or {"inputs"} as in an HTTP body'


def route_for_payload(document: Any, model: str) -> str | None:
    """The path that takes `document`, by the default model `model`; None when it is none of FORMS."""
    if not isinstance(document, dict):
        return None
    if "image" in document:
        return "/classify"
    if "tensors" in document:
        return f"/v1/models/{model}/infer"
    if isinstance(document.get("inputs"), list) and document["inputs"]:
        protocol = isinstance(document["inputs"][0], dict)
        return f"/v2/models/{model}/infer" if protocol else f"/v1/models/{model}/infer"
    return None
