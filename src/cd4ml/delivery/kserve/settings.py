"""What a cluster's owner decides about how cd4ml serves there."""

from __future__ import annotations

from dataclasses import dataclass

from cd4ml.errors import UsageError

__all__ = ["KServeSettings"]

_MODES = ("", "Knative", "Standard")


@dataclass(frozen=True)
class KServeSettings:
    """How cd4ml serves in one namespace.

    Attributes
    ----------
    namespace : str
        Where the services are.
    mode : str
        "Knative" or "Standard" for services that cd4ml creates; "" for the cluster's default. One that is
        there keeps its own.
    model_format, runtime, protocol : str
        Of services that cd4ml creates: format, ServingRuntime ("": KServe chooses by the format), "v1" or
        "v2".
    service_account : str
        Whose credentials fetch the bundles; "" for the namespace's default.
    logger_url : str
        Where KServe's logger sends CloudEvents; "" for nowhere. Of services that cd4ml creates.
    gateway : str
        "namespace/name" of the Gateway to which our HTTPRoute is attached.
    istio_gateways : tuple of str
        To which our VirtualService is attached, e.g. "istio-system/ingress" or "mesh".
    hosts : tuple of str
        Names under which callers reach the service; our route matches no others.
    adopt : bool
        Take the model's location of a service over from who wrote it. Without it such a service is left
        alone, and the refusal names its manager.
    system_namespace : str
        Where KServe itself is.
    """

    namespace: str
    mode: str = ""
    model_format: str = "cd4ml"
    runtime: str = ""
    protocol: str = "v2"
    service_account: str = ""
    logger_url: str = ""
    gateway: str = ""
    istio_gateways: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    adopt: bool = False
    system_namespace: str = "kserve"

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise UsageError(f"the mode must be Knative or Standard; got '{self.mode}'")
        if self.gateway and self.gateway.count("/") != 1:
            raise UsageError(f"a gateway is named NAMESPACE/NAME; got '{self.gateway}'")
