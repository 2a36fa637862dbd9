"""What the server itself adds to built-in kinds."""

from __future__ import annotations

from typing import Any

from tests.kubernetes.standin.kinds import Kind

__all__ = ["fill_in", "prepare_new"]


def fill_in(document: dict[str, Any], kind: Kind) -> None:
    """Defaults that come with reading an object, so that its writer owns them."""
    if kind.plural == "namespaces":
        labels = document["metadata"].setdefault("labels", {})
        labels.setdefault("kubernetes.io/metadata.name", document["metadata"].get("name", ""))
    elif kind.store_key == ("", "services"):
        spec = document.setdefault("spec", {})
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        if spec["type"] != "ExternalName":
            spec.setdefault("internalTrafficPolicy", "Cluster")
        for port in spec.get("ports") or []:
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))
    elif kind.store_key == ("", "secrets"):
        document.setdefault("type", "Opaque")


def prepare_new(document: dict[str, Any], kind: Kind, number: int) -> None:
    """What the server sets on a new object by itself: nobody owns it."""
    if kind.plural == "namespaces":
        document.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        document["status"] = {"phase": "Active"}
    elif kind.store_key == ("", "services"):
        spec = document["spec"]
        if spec["type"] != "ExternalName" and not spec.get("clusterIP"):
            spec["clusterIP"] = f"10.96.{number // 250 % 250}.{number % 250 + 1}"
        if spec["type"] != "ExternalName":
            spec.setdefault("clusterIPs", [spec["clusterIP"]])
            spec.setdefault("ipFamilies", ["IPv4"])
            spec.setdefault("ipFamilyPolicy", "SingleStack")
        document["status"] = {"loadBalancer": {}}
