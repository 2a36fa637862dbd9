"""The shadow: an InferenceService of its own, and our route, which copies requests to it when it is ready.

The copies end first and begin last, so that the route never names a Service that is not there. A shadow whose
model changes is made anew: Ready of an object whose spec never changed means that model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.delivery.kserve.objects import MANAGED, Served, served_by, serves, shadow_service
from cd4ml.delivery.kserve.routes import accepted
from cd4ml.delivery.kserve.step import holds_all
from cd4ml.delivery.plane import DesiredService
from cd4ml.errors import ConflictError

__all__ = ["ShadowLook", "ShadowStep", "shadow_look", "shadow_step"]


@dataclass(frozen=True)
class ShadowLook:
    """A shadow and our route, as they were seen; `route_document` is the live one."""

    served: Served | None = None
    ready: bool = False
    route_document: Mapping[str, Any] | None = None
    failure: str = ""


@dataclass(frozen=True)
class ShadowStep:
    """What comes next: at most one of the three; with none and nothing waited for, it is as it shall be.

    Attributes
    ----------
    route_settled : bool
        Our route is as it shall be now, and the gateway took it (or there is none).
    """

    write_service: Mapping[str, Any] | None = None
    delete_service: bool = False
    write_route: Mapping[str, Any] | None = None
    waiting: str = ""
    route_settled: bool = True

    @property
    def done(self) -> bool:
        """Nothing is left to do or to wait for."""
        return self == ShadowStep()


def shadow_look(service: Mapping[str, Any] | None, route: Mapping[str, Any] | None) -> ShadowLook:
    """Return what a shadow's InferenceService and our route say.

    Raises
    ------
    ConflictError
        If one of both has our name and is not ours.
    """
    for found in (service, route):
        if found is not None and not _is_ours(found):
            metadata = found["metadata"]
            raise ConflictError(
                f"the {found.get('kind')} '{metadata['name']}' is not cd4ml's (no label {MANAGED}); rename"
                " it: cd4ml needs that name"
            )
    if service is None:
        return ShadowLook(route_document=route)
    status = service.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    failure = (status.get("modelStatus") or {}).get("lastFailureInfo") or {}
    return ShadowLook(
        served=served_by(service["spec"]["predictor"]),
        ready=conditions.get("PredictorReady") == "True" and not _is_going(service),
        route_document=route,
        failure=str(failure.get("message") or ""),
    )


def shadow_step(
    look: ShadowLook,
    desired: DesiredService,
    predictor: Mapping[str, Any],
    namespace: str,
    routes: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> ShadowStep:
    """Return what comes next.

    Parameters
    ----------
    predictor : mapping
        The service's own, as it is.
    routes : (mapping, mapping) or None
        Our route as it shall be without copies, and with them; None: there is no route of ours.
    """
    shadow = desired.shadow
    wanted = look.served is not None and shadow is not None and serves(look.served, shadow)
    if routes is not None:
        route = routes[1 if wanted and look.ready and desired.mirror_percent else 0]
        if look.route_document is None or not holds_all(look.route_document, route):
            return ShadowStep(write_route=route, route_settled=False)
        if route["kind"] == "HTTPRoute" and not accepted(look.route_document):
            return ShadowStep(waiting="the gateway has not taken our route yet", route_settled=False)
    if look.served is not None and not wanted:
        return ShadowStep(delete_service=True)
    if shadow is not None and look.served is None:
        return ShadowStep(write_service=shadow_service(desired.service, shadow, predictor, namespace))
    return ShadowStep(waiting="the shadow is not ready") if wanted and not look.ready else ShadowStep()


def _is_ours(document: Mapping[str, Any]) -> bool:
    return MANAGED.items() <= (document["metadata"].get("labels") or {}).items()


def _is_going(document: Mapping[str, Any]) -> bool:
    return bool(document["metadata"].get("deletionTimestamp"))
