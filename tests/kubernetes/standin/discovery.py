"""What the server says it serves: versions, groups and resources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.kubernetes.standin.kinds import Kind

__all__ = ["discovered"]

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "stand-in",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "go1.26",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def discovered(path: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """Return the document behind a path of discovery, or None for a path that is none."""
    match [part for part in path.split("/") if part]:
        case ["version"]:
            found: dict[str, Any] | None = _VERSION
        case ["api"]:
            found = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            names = sorted({kind.group for kind in kinds if kind.group})
            groups = [_group(name, kinds) for name in names]
            found = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if any(kind.group == group for kind in kinds):
            found = {"kind": "APIGroup", "apiVersion": "v1", **_group(group, kinds)}
        case ["api", "v1"]:
            found = _resources("", "v1", kinds)
        case ["apis", group, version]:
            found = _resources(group, version, kinds)
        case _:
            found = None
    return found


def _group(name: str, kinds: Iterable[Kind]) -> dict[str, Any]:
    versions = sorted({kind.version for kind in kinds if kind.group == name}, key=_maturity)
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": told, "preferredVersion": told[0]}


def _maturity(version: str) -> tuple[int, str]:
    """Stable before beta before alpha."""
    return (2 if "alpha" in version else 1 if "beta" in version else 0), version


def _resources(group: str, version: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    chosen = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    if not chosen:
        return None
    resources: list[dict[str, Any]] = []
    for kind in sorted(chosen, key=lambda kind: kind.plural):
        is_review = kind.plural == "selfsubjectaccessreviews"
        entry = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": ["create"] if is_review else _VERBS,
        }
        resources.append(entry | ({"shortNames": list(kind.short_names)} if kind.short_names else {}))
        if kind.status_subresource:
            status = {
                "name": f"{kind.plural}/status",
                "singularName": "",
                "verbs": ["get", "patch", "update"],
            }
            resources.append(entry | status)
    version_name = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version_name,
        "resources": resources,
    }
