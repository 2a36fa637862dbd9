"""Standard mode: `spec.canary[]` beside the predictor, with weights on the Gateway API's routes.

The rules, in the order in which they matter:

1. A canary comes with 0 % and one replica at least (KServe would give it none), and gets a share when its
   status says that it is ready.
2. What goes away loses its share first; its entry is dropped when the route sends it nothing.
3. A promotion gives the canary all traffic, and then makes it the predictor under its own name, so that its
   pods go on. What it replaced stays as a canary of 0 %, so that going back starts nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.delivery.kserve.objects import (
    Served,
    child_name,
    predictor_service,
    served_by,
    serves,
    with_variant,
)
from cd4ml.delivery.kserve.step import Step, holds_all
from cd4ml.delivery.plane import DesiredService, Variant
from cd4ml.errors import ConflictError

__all__ = ["CanaryLook", "StandardLook", "standard_base", "standard_look", "standard_step"]

_ALL = 100


@dataclass(frozen=True)
class CanaryLook:
    """One entry of `spec.canary`, with what its status and the route say of it.

    Attributes
    ----------
    percent, told_percent : int
        In the spec, and in the status (-1: the status does not name it). The status repeats the spec and
        proves no traffic; `routed_percent` does (-1: no route of KServe is to be seen).
    """

    name: str
    served: Served
    percent: int
    entry: Mapping[str, Any]
    ready: bool = False
    told_percent: int = -1
    routed_percent: float = -1.0


@dataclass(frozen=True)
class StandardLook:
    """An InferenceService in Standard mode, as it was seen."""

    service: str
    spec: Mapping[str, Any]
    primary: Served
    name: str = ""
    ready: bool = False
    canaries: tuple[CanaryLook, ...] = ()
    stale: bool = False
    """The status names canaries that the spec does not: KServe has not looked at it yet."""
    leftover_percent: float = 0.0
    """What KServe's route sends to Services that the spec does not name."""


def standard_look(service: Mapping[str, Any], weights: Mapping[str, float] | None) -> StandardLook:
    """Return what an InferenceService says.

    Parameters
    ----------
    weights : mapping or None
        Kubernetes Service -> percentage that KServe's own route sends it; None: there is none to be seen.
    """
    name = service["metadata"]["name"]
    spec, status = service["spec"], service.get("status") or {}
    told = {one.get("name"): one for one in status.get("canaryStatuses") or ()}
    predictor = spec.get("predictor") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    canaries = []
    for entry in spec.get("canary") or ():
        own = entry["predictor"].get("name", "")
        said = told.get(own, {})
        routed = -1.0 if weights is None else weights.get(predictor_service(name, own), 0.0)
        canaries.append(
            CanaryLook(
                name=own,
                served=served_by(entry["predictor"]),
                percent=int(entry.get("trafficPercent") or 0),
                entry=entry,
                ready=bool(said.get("ready")),
                told_percent=int(said.get("trafficPercent", -1)),
                routed_percent=routed,
            )
        )
    own_name = str(predictor.get("name") or "")
    known = {predictor_service(name, one) for one in (own_name, *(canary.name for canary in canaries))}
    return StandardLook(
        service=name,
        spec=spec,
        primary=served_by(predictor),
        name=own_name,
        ready=conditions.get("PredictorReady") == "True",
        canaries=tuple(canaries),
        stale=not set(told) <= {canary.name for canary in canaries},
        leftover_percent=sum(share for key, share in (weights or {}).items() if key not in known),
    )


def standard_step(look: StandardLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    """Return what comes next.

    Parameters
    ----------
    base : mapping
        Our fields of the spec while one model alone served.

    Raises
    ------
    ConflictError
        If the predictor's model is one that cd4ml does not know: somebody else wrote it.
    """
    if serves(look.primary, desired.stable):
        if desired.canary is None:
            return _alone(look, desired, base)
        step = _beside(look, desired.canary, round(desired.canary_percent), base)
        return Step(waiting="the stable predictor is not ready") if step.done and not look.ready else step
    if not look.primary.bundle and not look.primary.same(served_by(base["predictor"])):
        raise ConflictError(
            f"the predictor of '{desired.service}' serves '{look.primary.location}', which is neither its"
            " stable model nor its canary: somebody else changed it; see its managedFields, and undo that"
        )
    return _promote(look, desired, base)


def _alone(look: StandardLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    """Take all canaries away, and have the spec as it was, or as the promoted model wants it."""
    step = _without_traffic(look, look.canaries, base)
    if step is not None:
        return step
    final = standard_base(look, desired.stable, base)
    if _is_too_much(look, final) or not holds_all(look.spec, final):
        return Step(final, drops_a_service=True, why="one model alone")
    if not look.ready:
        return Step(waiting=f"the predictor of version {desired.stable.version} is not ready")
    if look.stale:
        return Step(waiting="the status still names a canary")
    if look.leftover_percent:
        return Step(waiting="KServe's route still sends requests to a predictor that is to go")
    return Step()


def _is_too_much(look: StandardLook, final: Mapping[str, Any]) -> bool:
    """Tell whether there is something of a rollout that is to go; what others put there is theirs."""
    if look.canaries and not final.get("canary"):
        return True
    if not look.primary.bundle:
        return False
    live, own = look.spec["predictor"]["model"], final["predictor"]["model"]
    return ("canary" in look.spec and "canary" not in final) or ("name" in live and "name" not in own)


def _beside(look: StandardLook, canary: Variant, percent: int, base: Mapping[str, Any]) -> Step:
    """Have this canary and no other, at this share."""
    mine = next((one for one in look.canaries if serves(one.served, canary)), None)
    others = tuple(one for one in look.canaries if one is not mine)
    step = _without_traffic(look, others, base)
    if step is not None:
        return step
    if mine is None:
        return Step(
            _with_canary(look, base, _entry(look, canary)),
            drops_a_service=bool(others),
            why="the canary, without traffic",
        )
    if others:
        return Step(_with_canary(look, base, mine.entry), drops_a_service=True, why="one canary alone")
    if not mine.ready:
        return Step(waiting=f"the canary '{mine.name}' is not ready")
    if mine.percent != percent:
        return Step(_with_canary(look, base, _weighted(look, mine.entry, percent)), why="the canary's share")
    return _settled(mine, percent)


def _settled(canary: CanaryLook, percent: int) -> Step:
    if canary.told_percent != percent:
        return Step(waiting=f"the status of the canary '{canary.name}' does not say {percent} % yet")
    if canary.routed_percent != percent and (percent or canary.routed_percent > 0):
        found = "no route" if canary.routed_percent < 0 else f"{canary.routed_percent:g} %"
        return Step(waiting=f"KServe's route has {found} for the canary '{canary.name}', not {percent} %")
    return Step()


def _promote(look: StandardLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    """Bring the wanted stable model up as a canary, give it all traffic, make it the predictor."""
    step = _beside(look, desired.stable, _ALL, base)
    if not step.done:
        return step
    mine = look.canaries[0]
    predictor = copy.deepcopy(dict(base["predictor"]))
    taken = {key: copy.deepcopy(mine.entry["predictor"][key]) for key in ("name", "labels", "annotations")}
    model = mine.entry["predictor"]["model"]
    kept = {key: copy.deepcopy(model[key]) for key in (*predictor["model"], "name") if key in model}
    predictor |= {**taken, "model": kept}
    canaries = []
    if desired.canary and serves(look.primary, desired.canary) and look.name:
        canaries = [_old_entry(look, desired.canary)]
    return Step(
        {"predictor": predictor, "canary": canaries},
        drops_a_service=True,
        why="the canary becomes the predictor",
    )


def _without_traffic(
    look: StandardLook, canaries: tuple[CanaryLook, ...], base: Mapping[str, Any]
) -> Step | None:
    """Return the step that takes traffic from canaries; None where they have none."""
    if any(one.percent for one in canaries):
        names = {one.name for one in canaries}
        entries = [
            _weighted(look, one.entry, 0) if one.name in names else copy.deepcopy(dict(one.entry))
            for one in look.canaries
        ]
        return Step(_current(look, base) | {"canary": entries}, why="no more traffic for the canary")
    busy = next((one for one in canaries if one.routed_percent > 0), None)
    if busy is not None:
        return Step(
            waiting=f"KServe's route still sends {busy.routed_percent:g} % to the canary '{busy.name}'"
        )
    return None


def _current(look: StandardLook, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return our fields of the predictor as they are now."""
    predictor = copy.deepcopy(dict(base["predictor"]))
    live = look.spec["predictor"]
    predictor["model"] = {key: live["model"][key] for key in predictor["model"] if key in live["model"]}
    for key in ("labels", "annotations"):
        if look.primary.bundle and key in live:
            known = ("endpoint", *_marks(live.get("annotations") or {}))
            predictor[key] = {one: value for one, value in live[key].items() if one in known}
    predictor.pop("name", None)
    return {"predictor": predictor | ({"name": look.name} if look.name else {})}


def _marks(annotations: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(key for key in annotations if key.startswith("cd4ml.io/"))


def standard_base(look: StandardLook, stable: Variant, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return our fields of the spec with one model alone: as they were, if they named that model."""
    if not serves(served_by(base["predictor"]), stable):
        current = _current(look, base)
        return {"predictor": with_variant(current["predictor"], stable, "stable")}
    found = copy.deepcopy(dict(base))
    if look.name and "name" not in found["predictor"]:
        # A predictor that lost its name would be started anew, and the one that serves deleted meanwhile.
        found["predictor"]["name"] = look.name
    return found


def _entry(look: StandardLook, canary: Variant) -> dict[str, Any]:
    """Return a new entry of `spec.canary`: what it does not say, KServe takes from the predictor."""
    own = {"model": {**look.spec["predictor"]["model"], "name": ""}}
    predictor = {"name": child_name(look.service, canary), **with_variant(own, canary, "canary")}
    return _weighted(look, {"predictor": predictor}, 0)


def _old_entry(look: StandardLook, old: Variant) -> dict[str, Any]:
    """Return the predictor of now as a canary, with its pods as they are."""
    live = look.spec["predictor"]
    own = {"model": {**live["model"], "name": ""}}
    predictor = {"name": look.name, **with_variant(own, old, look.primary.endpoint or "stable")}
    return _weighted(look, {"predictor": predictor}, 0)


def _weighted(look: StandardLook, entry: Mapping[str, Any], percent: int) -> dict[str, Any]:
    """Return an entry with another share, and the replicas that it needs for it (none is never ready)."""
    replicas = int(look.spec["predictor"].get("minReplicas") or 1)
    found = copy.deepcopy(dict(entry))
    found["predictor"]["minReplicas"] = max(1, math.ceil(replicas * percent / _ALL))
    return found | {"trafficPercent": percent}


def _with_canary(look: StandardLook, base: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    return _current(look, base) | {"canary": [copy.deepcopy(dict(entry))]}
