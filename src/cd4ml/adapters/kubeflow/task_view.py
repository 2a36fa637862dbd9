"""What the tasks of a compiled pipeline get on a cluster, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.adapters.kubeflow.task_settings import Task, tasks_of

__all__ = ["HEADERS", "effective", "rows"]

HEADERS = ("task", "title", "cpu", "memory", "accelerator", "retries", "timeout", "nodes", "secrets")


def effective(documents: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by name of a task what it gets: built in or from a problem's settings.

    Parameters
    ----------
    documents : sequence of mapping
        Of `compiled.documents` or `task_settings.with_settings`.

    Returns
    -------
    dict of str to dict
        `title`; `cpu` and `memory` as "request to limit"; `accelerator` as "count x type"; `retries`, a
        count; `timeout_seconds`, 0 for none; `nodes`, `tolerations`, `secrets`, `config_maps` and `volumes`
        as lists of text.
    """
    platform = documents[1] if len(documents) > 1 else {}
    kubernetes = platform.get("platforms", {}).get("kubernetes", {})
    executors = kubernetes.get("deploymentSpec", {}).get("executors", {})
    return {task.name: _told(task, executors.get(f"exec-{task.name}", {})) for task in tasks_of(documents[0])}


def _told(task: Task, platform: Mapping[str, Any]) -> dict[str, Any]:
    resources = task.container.get("resources", {})
    device = resources.get("accelerator")
    retries = [entry.get("retryPolicy", {}).get("maxRetryCount", 0) for entry in task.entries]
    return {
        "title": task.title,
        "cpu": _span(resources, "Cpu"),
        "memory": _span(resources, "Memory"),
        "accelerator": f"{device['resourceCount']} x {device['resourceType']}" if device else "",
        "retries": max(retries, default=0),
        "timeout_seconds": int(platform.get("activeDeadlineSeconds", 0)),
        "nodes": _nodes(platform),
        "tolerations": [_toleration(one) for one in platform.get("tolerations", [])],
        "secrets": _named(platform, "secret"),
        "config_maps": _named(platform, "configMap"),
        "volumes": _volumes(platform),
    }


def _span(resources: Mapping[str, Any], word: str) -> str:
    ends = [str(resources.get(f"resource{word}{side}", "")) or "any" for side in ("Request", "Limit")]
    return "" if ends == ["any", "any"] else " to ".join(ends)


def _nodes(platform: Mapping[str, Any]) -> list[str]:
    labels = platform.get("nodeSelector", {}).get("labels", {})
    found = [f"{key}={value}" for key, value in sorted(labels.items())]
    for term in platform.get("nodeAffinity", []):
        words = [
            " ".join([one["key"], one["operator"], *one.get("values", [])])
            for one in term.get("matchExpressions", [])
        ]
        found.append(" and ".join(words) + (f" (preferred, {term['weight']:g})" if "weight" in term else ""))
    return found


def _toleration(one: Mapping[str, Any]) -> str:
    value = f"={one['value']}" if one.get("value") else ""
    return f"{one.get('key', 'all')}{value}" + (f":{one['effect']}" if one.get("effect") else "")


def _named(platform: Mapping[str, Any], word: str) -> list[str]:
    sources = [*platform.get(f"{word}AsEnv", []), *platform.get(f"{word}AsVolume", [])]
    return sorted({str(one.get(f"{word}Name", "by parameter")) for one in sources})


def _volumes(platform: Mapping[str, Any]) -> list[str]:
    claims = [
        f"{one.get('constant', 'by parameter')} at {one['mountPath']}" for one in platform.get("pvcMount", [])
    ]
    folders = [f"{one['volumeName']} at {one['mountPath']}" for one in platform.get("emptyDirMounts", [])]
    return claims + folders


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the rows of a table of what `effective` gave, under `HEADERS`."""
    return [
        (
            name,
            one["title"],
            one["cpu"],
            one["memory"],
            one["accelerator"],
            one["retries"],
            f"{one['timeout_seconds']}s" if one["timeout_seconds"] else "",
            ", ".join([*one["nodes"], *(f"tolerates {taint}" for taint in one["tolerations"])]),
            ", ".join(one["secrets"]),
        )
        for name, one in found.items()
    ]
