"""How kfp writes each setting of a task into a compiled pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from cd4ml.problem.kubernetes import (
    Accelerator,
    ConfigMap,
    CpuAmount,
    EmptyDir,
    MemoryAmount,
    NodeAffinity,
    PersistentClaim,
    RunSettings,
    Secret,
    SecurityContext,
    Toleration,
)
from cd4ml.problem.kubernetes_values import cores, size_bytes

__all__ = ["PLATFORM", "RESOURCES", "pipeline_config"]

Document = dict[str, Any]
_GIGABYTE = 10**9
_MOUNTS = ("configMapAsVolume", "emptyDirMounts", "genericEphemeralVolume", "pvcMount", "secretAsVolume")


def _set_cpu(resources: Document, amount: CpuAmount | None) -> None:
    _set_amount(resources, "Cpu", amount, lambda text: float(cores(text)))


def _set_memory(resources: Document, amount: MemoryAmount | None) -> None:
    _set_amount(resources, "Memory", amount, lambda text: size_bytes(text) / _GIGABYTE)


def _set_amount(
    resources: Document,
    word: str,
    amount: CpuAmount | MemoryAmount | None,
    number: Callable[[str], float],
) -> None:
    """Write a quantity as text, and as the number that older installations read."""
    for side in ("request", "limit"):
        if amount is not None and side not in amount.model_fields_set:
            continue
        text = None if amount is None else getattr(amount, side)
        name = f"{word}{side.capitalize()}"
        plain = name[0].lower() + name[1:]
        resources.pop(f"resource{name}", None)
        resources.pop(plain, None)
        if text is not None:
            resources |= {f"resource{name}": text, plain: number(text)}


def _set_accelerator(resources: Document, given: Accelerator | None) -> None:
    resources.pop("accelerator", None)
    if given is not None:
        count = str(given.count)
        both = {"count": count, "resourceCount": count}
        resources["accelerator"] = {**both, "type": given.type, "resourceType": given.type}


def _constant(name: str) -> Document:
    return {"runtimeValue": {"constant": name}}


def _put(platform: Document, key: str, value: Any) -> None:
    """Write a value, or take it out when there is none."""
    platform.pop(key, None)
    if value:
        platform[key] = value


def _free_variables(platform: Document, container: Document, taken: Sequence[str]) -> None:
    """Take variables out of all that sets them, so that each has one source."""
    if "env" in container:
        _put(container, "env", [one for one in container["env"] if one["name"] not in taken])
    for key in ("secretAsEnv", "configMapAsEnv"):
        for source in platform.get(key, []):
            source["keyToEnv"] = [one for one in source["keyToEnv"] if one["envVar"] not in taken]
        _put(platform, key, [source for source in platform.get(key, []) if source["keyToEnv"]])
    fields = [one for one in platform.get("fieldPathAsEnv", []) if one["name"] not in taken]
    _put(platform, "fieldPathAsEnv", fields)


def _free_paths(platform: Document, taken: Sequence[str]) -> None:
    for key in _MOUNTS:
        _put(platform, key, [one for one in platform.get(key, []) if one["mountPath"] not in taken])


def _add(platform: Document, key: str, items: Sequence[Document]) -> None:
    _put(platform, key, [*platform.get(key, []), *items])


def _set_sources(
    platform: Document, container: Document, word: str, given: Sequence[Secret | ConfigMap] | None
) -> None:
    """Add Secrets or config maps, as variables, as files or both; None takes out all of them."""
    if given is None:
        _put(platform, f"{word}AsEnv", None)
        _put(platform, f"{word}AsVolume", None)
        return
    _free_variables(platform, container, [name for one in given for name in one.env.values()])
    _free_paths(platform, [one.path for one in given if one.path])
    for one in given:
        if one.env:
            key = f"{word}Key"
            pairs = [{key: name, "envVar": variable} for name, variable in one.env.items()]
            _add(platform, f"{word}AsEnv", [{**_named(word, one), "keyToEnv": pairs}])
        if one.path:
            _add(platform, f"{word}AsVolume", [{**_named(word, one), "mountPath": one.path}])


def _named(word: str, one: Secret | ConfigMap) -> Document:
    """Return what both ways of use begin with; shared, it would be an alias in YAML."""
    return {
        f"{word}Name": one.name,
        f"{word}NameParameter": _constant(one.name),
        "optional": one.optional,
    }


def _set_secrets(platform: Document, container: Document, given: list[Secret] | None) -> None:
    _set_sources(platform, container, "secret", given)


def _set_config_maps(platform: Document, container: Document, given: list[ConfigMap] | None) -> None:
    _set_sources(platform, container, "configMap", given)


def _set_claims(platform: Document, container: Document, given: list[PersistentClaim] | None) -> None:
    if given is None:
        _put(platform, "pvcMount", None)
        return
    _free_paths(platform, [one.path for one in given])
    items = [
        {"constant": one.claim, "pvcNameParameter": _constant(one.claim), "mountPath": one.path}
        | ({"subPath": one.subpath} if one.subpath else {})
        for one in given
    ]
    _add(platform, "pvcMount", items)


def _set_empty_dirs(platform: Document, container: Document, given: list[EmptyDir] | None) -> None:
    if given is None:
        _put(platform, "emptyDirMounts", None)
        return
    _free_paths(platform, [one.path for one in given])
    items = [
        {"volumeName": one.name, "mountPath": one.path}
        | ({"medium": one.medium} if one.medium else {})
        | ({"sizeLimit": one.size} if one.size else {})
        for one in given
    ]
    _add(platform, "emptyDirMounts", items)


def _set_env(platform: Document, container: Document, given: dict[str, str] | None) -> None:
    if given is None:
        container.pop("env", None)
        return
    _free_variables(platform, container, list(given))
    # An empty text is not written: it is what a missing one means.
    _add(
        container, "env", [{"name": name} | ({"value": text} if text else {}) for name, text in given.items()]
    )


def _set_tolerations(platform: Document, container: Document, given: list[Toleration] | None) -> None:
    _put(platform, "tolerations", [_toleration(one) for one in given or ()])


def _toleration(one: Toleration) -> Document:
    seconds = None if one.seconds is None else str(one.seconds)
    said = {"key": one.key, "value": one.value, "effect": one.effect, "tolerationSeconds": seconds}
    return {"operator": one.operator, **{key: value for key, value in said.items() if value}}


def _set_affinity(platform: Document, container: Document, given: list[NodeAffinity] | None) -> None:
    terms = [
        {
            "matchExpressions": [
                {"key": each.key, "operator": each.operator}
                | ({"values": list(each.values)} if each.values else {})
                for each in one.expressions
            ]
        }
        | ({"weight": float(one.weight)} if one.weight else {})  # a number of JSON, as kfp writes it
        for one in given or ()
    ]
    _put(platform, "nodeAffinity", terms)


def _set_selector(platform: Document, container: Document, given: dict[str, str] | None) -> None:
    _put(platform, "nodeSelector", {"labels": dict(given)} if given else None)


def _set_pull_secrets(platform: Document, container: Document, given: list[str] | None) -> None:
    items = [{"secretName": name, "secretNameParameter": _constant(name)} for name in given or ()]
    _put(platform, "imagePullSecret", items)


def _set_pull_policy(platform: Document, container: Document, given: str | None) -> None:
    _put(platform, "imagePullPolicy", given)


def _set_labels(platform: Document, container: Document, given: dict[str, str] | None) -> None:
    _set_metadata(platform, "labels", given)


def _set_annotations(platform: Document, container: Document, given: dict[str, str] | None) -> None:
    _set_metadata(platform, "annotations", given)


def _set_metadata(platform: Document, kind: str, given: dict[str, str] | None) -> None:
    """Merge labels or annotations with those that the pipeline brings; None takes those out."""
    metadata = platform.pop("podMetadata", {})
    _put(metadata, kind, None if given is None else {**metadata.get(kind, {}), **given})
    _put(platform, "podMetadata", metadata)


def _set_timeout(platform: Document, container: Document, given: timedelta | None) -> None:
    _put(platform, "activeDeadlineSeconds", str(int(given.total_seconds())) if given else None)


def _set_security(platform: Document, container: Document, given: SecurityContext | None) -> None:
    """Merge with what the pipeline brings; None takes that out, as where a cluster gives each its user."""
    found = dict(platform.get("securityContext", {}))
    if given is None:
        found = {}
    else:
        said = {"user": "runAsUser", "group": "runAsGroup", "non_root": "runAsNonRoot"}
        for key in given.model_fields_set:
            value = getattr(given, key)
            found.pop(said[key], None)
            if value is not None:
                found[said[key]] = value if value is True else str(value)
    _put(platform, "securityContext", found)


RESOURCES: dict[str, Callable[[Document, Any], None]] = {
    "accelerator": _set_accelerator,
    "cpu": _set_cpu,
    "memory": _set_memory,
}
"""Writes a setting into the resources of a container; None takes it out."""

PLATFORM: dict[str, Callable[[Document, Document, Any], None]] = {
    "annotations": _set_annotations,
    "claims": _set_claims,
    "config_maps": _set_config_maps,
    "empty_dirs": _set_empty_dirs,
    "env": _set_env,
    "image_pull_policy": _set_pull_policy,
    "image_pull_secrets": _set_pull_secrets,
    "labels": _set_labels,
    "node_affinity": _set_affinity,
    "node_selector": _set_selector,
    "secrets": _set_secrets,
    "security": _set_security,
    "timeout": _set_timeout,
    "tolerations": _set_tolerations,
}
"""Writes a setting into what the platform is told of a task, and into its container; None takes it out."""


def pipeline_config(settings: RunSettings) -> Document:
    """Return what is said of a whole run."""
    found: Document = {}
    if settings.workspace is not None:
        patch: Document = {}
        if settings.workspace.storage_class is not None:
            patch["storageClassName"] = settings.workspace.storage_class
        if settings.workspace.access_modes:
            patch["accessModes"] = list(settings.workspace.access_modes)
        found["workspace"] = {"size": settings.workspace.size, "kubernetes": {"pvcSpecPatch": patch}}
    if settings.deadline is not None:
        found["activeDeadlineSeconds"] = int(settings.deadline.total_seconds())
    words = {"finished": "Completion", "succeeded": "Success", "failed": "Failure"}
    for key, word in words.items():
        kept = getattr(settings.ttl, key, None)
        if kept is not None:
            found[f"resourceTtlOn{word}"] = int(kept.total_seconds())
    return found
