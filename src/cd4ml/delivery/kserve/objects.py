"""InferenceServices as cd4ml writes them: its own fields alone, and what they say about the model served."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.delivery.kserve.settings import KServeSettings
from cd4ml.delivery.plane import Variant
from cd4ml.errors import UsageError

__all__ = [
    "BUNDLE",
    "HISTORY",
    "MANAGED",
    "SOURCE",
    "VERSION",
    "Served",
    "child_name",
    "inference_service",
    "new_predictor",
    "own_fields",
    "predictor_service",
    "served_by",
    "served_by_revision",
    "serves",
    "shadow_name",
    "shadow_service",
    "with_variant",
]

BUNDLE, VERSION, HISTORY = "cd4ml.io/bundle", "cd4ml.io/version", "cd4ml.io/history"
SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""KServe writes it on each revision; the model's location of one that cd4ml did not write."""
MANAGED = {"app.kubernetes.io/managed-by": "cd4ml"}
_MODE, _TAGS = "serving.kserve.io/deploymentMode", "serving.kserve.io/enable-tag-routing"
_LOCAL = "networking.kserve.io/visibility"
_LABEL_LENGTH = 63
_SHARED = (
    "affinity",
    "imagePullSecrets",
    "logger",
    "nodeSelector",
    "securityContext",
    "serviceAccountName",
    "tolerations",
    "volumes",
)
"""What a shadow takes over from its service, beside the model: where it runs, and as whom."""


@dataclass(frozen=True)
class Served:
    """What a predictor or a revision serves; bundle and version are "" where cd4ml did not write it."""

    bundle: str = ""
    version: str = ""
    history: str = ""
    location: str = ""
    endpoint: str = ""

    def same(self, other: Served) -> bool:
        """Tell whether both are one and the same pod template, as far as cd4ml can know."""
        if not self.bundle and not other.bundle:
            return self.location == other.location
        mine = (self.bundle, self.version, self.history, self.endpoint)
        return mine == (other.bundle, other.version, other.history, other.endpoint)


def serves(found: Served, variant: Variant) -> bool:
    """Tell whether it is that variant; one that cd4ml did not write is known by its location."""
    if found.bundle:
        named = (found.bundle, found.version, found.history) == variant.identity
        return named and found.location in ("", variant.location)
    return bool(found.location) and found.location == variant.location and not variant.history


def served_by(predictor: Mapping[str, Any]) -> Served:
    """Return what a predictor of a spec serves."""
    marks = predictor.get("annotations") or {}
    location = str((predictor.get("model") or {}).get("storageUri") or "")
    return _served(marks, predictor.get("labels") or {}, location)


def served_by_revision(revision: Mapping[str, Any]) -> Served:
    """Return what a Knative revision serves."""
    metadata = revision.get("metadata") or {}
    marks = metadata.get("annotations") or {}
    return _served(marks, metadata.get("labels") or {}, str(marks.get(SOURCE) or ""))


def new_predictor(service: str, variant: Variant, settings: KServeSettings, name: str = "") -> dict[str, Any]:
    """Return the predictor of a service that cd4ml creates."""
    model: dict[str, Any] = {
        "modelFormat": {"name": settings.model_format},
        "protocolVersion": settings.protocol,
        "storageUri": variant.location,
    }
    if settings.runtime:
        model["runtime"] = settings.runtime
    # Arguments of the model come after the runtime's, and the last one of a name counts.
    model["args"] = [f"--name={service}", _VARIANT_ARG, _VERSION_ARG]
    predictor: dict[str, Any] = {"model": model}
    if name:
        predictor["name"] = name
    if settings.service_account:
        predictor["serviceAccountName"] = settings.service_account
    if settings.logger_url:
        predictor["logger"] = {
            "mode": "all",
            "url": settings.logger_url,
            "metadataAnnotations": [BUNDLE, VERSION],
        }
    return with_variant(predictor, variant, "stable")


def with_variant(predictor: Mapping[str, Any], variant: Variant, endpoint: str) -> dict[str, Any]:
    """Return a predictor that serves another variant, and says so in its labels and annotations."""
    found = copy.deepcopy(dict(predictor))
    found["model"] = {**found.get("model", {}), "storageUri": variant.location}
    if "args" in found["model"]:
        said = {_VARIANT_ARG: endpoint, _VERSION_ARG: variant.version}
        found["model"]["args"] = [_argument(one, said) for one in found["model"]["args"]]
    found["labels"] = {**found.get("labels", {}), "endpoint": endpoint}
    marks = {key: value for key, value in found.get("annotations", {}).items() if key != HISTORY}
    marks |= {BUNDLE: variant.bundle, VERSION: variant.version}
    found["annotations"] = marks | ({HISTORY: variant.history} if variant.history else {})
    return found


def inference_service(
    service: str,
    namespace: str,
    spec: Mapping[str, Any],
    mode: str = "",
    resource_version: str = "",
) -> dict[str, Any]:
    """Return an InferenceService with our fields alone.

    Parameters
    ----------
    mode : str
        For one that cd4ml created. KServe copies the annotations of an InferenceService to its pods, so that
        a new one would start all of them anew: there is none but this, from the beginning.
    resource_version : str
        What was read; the write is refused if it changed meanwhile.
    """
    metadata: dict[str, Any] = {"name": service, "namespace": namespace}
    if mode:
        metadata["labels"] = dict(MANAGED)
        metadata["annotations"] = {_MODE: mode} | ({_TAGS: "true"} if mode == "Knative" else {})
    if resource_version:
        metadata["resourceVersion"] = resource_version
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": copy.deepcopy(dict(spec)),
    }


def own_fields(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return of somebody else's spec what a rollout will change: that is what going back has to restore.

    Raises
    ------
    UsageError
        If its model has no `storageUri`: only that can be exchanged.
    """
    predictor = spec.get("predictor") or {}
    model = predictor.get("model") or {}
    if not model.get("storageUri"):
        raise UsageError(
            "its predictor has no model.storageUri; cd4ml exchanges models by it: write it as"
            " spec.predictor.model with modelFormat and storageUri"
        )
    own: dict[str, Any] = {"model": {"storageUri": model["storageUri"]}}
    if any(str(one).startswith(_VERSION_ARG) for one in model.get("args") or ()):
        own["model"]["args"] = list(model["args"])
    for key in ("name", "canaryTrafficPercent"):
        if key in predictor:
            own[key] = predictor[key]
    if "endpoint" in (predictor.get("labels") or {}):
        own["labels"] = {"endpoint": predictor["labels"]["endpoint"]}
    marks = {key: value for key, value in (predictor.get("annotations") or {}).items() if key in _MARKS}
    if marks:
        own["annotations"] = marks
    return {"predictor": own} | ({"canary": spec["canary"]} if "canary" in spec else {})


def shadow_name(service: str) -> str:
    """Return the name of a service's shadow."""
    return f"{service}-shadow"


def shadow_service(
    service: str, variant: Variant, predictor: Mapping[str, Any], namespace: str
) -> dict[str, Any]:
    """Return the InferenceService of a shadow: in Standard mode, where Services do not route by Host."""
    own = {key: predictor[key] for key in _SHARED if key in predictor}
    own["model"] = {key: value for key, value in predictor["model"].items() if key != "name"}
    found = inference_service(
        shadow_name(service), namespace, {"predictor": with_variant(own, variant, "shadow")}, mode="Standard"
    )
    found["metadata"]["labels"][_LOCAL] = "cluster-local"
    return found


def child_name(service: str, variant: Variant) -> str:
    """Return the name of a variant's predictor in Standard mode, e.g. "v5-1a2b3c".

    Raises
    ------
    UsageError
        If the name of its Service would be longer than Kubernetes allows.
    """
    version = re.sub(r"[^a-z0-9]+", "-", variant.version.lower()).strip("-")[:20].strip("-")
    history = f"-{re.sub(r'[^a-z0-9]+', '', variant.history.lower())[-6:]}" if variant.history else ""
    name = f"v{version}-{re.sub(r'[^a-z0-9]', '', variant.bundle.lower())[:6]}{history}".replace("--", "-")
    full = predictor_service(service, name)
    if len(full) > _LABEL_LENGTH:
        raise UsageError(
            f"the Service '{full}' would be longer than {_LABEL_LENGTH} characters; shorten '{service}'"
        )
    return name.strip("-")


def predictor_service(service: str, name: str = "") -> str:
    """Return the Kubernetes Service of a predictor in Standard mode."""
    return f"{service}-{name}-predictor" if name else f"{service}-predictor"


_MARKS = (BUNDLE, VERSION, HISTORY)
_VARIANT_ARG, _VERSION_ARG = "--variant=", "--model-version="


def _argument(argument: str, said: Mapping[str, str]) -> str:
    """Return an argument of cd4ml's server with another value; those of other servers stay as they are."""
    for name, value in said.items():
        if argument.startswith(name):
            return name + value
    return argument


def _served(marks: Mapping[str, Any], labels: Mapping[str, Any], location: str) -> Served:
    return Served(
        bundle=str(marks.get(BUNDLE) or ""),
        version=str(marks.get(VERSION) or ""),
        history=str(marks.get(HISTORY) or ""),
        location=location,
        endpoint=str(labels.get("endpoint") or ""),
    )
