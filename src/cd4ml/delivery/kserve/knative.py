"""Knative mode: the newest revision is the canary, the one rolled out before it is stable.

The rules, in the order in which they matter:

1. What is new comes with 0 % and gets a share when its revision is ready; `Ready` and `observedGeneration` of
   the InferenceService prove nothing, the names of the revisions and what they serve do.
2. What goes away loses its share first, in the same spec; only when the traffic says so the spec is restored.
   Without this, all traffic would stay with the bad revision until the restored one is ready.
3. While a promoted model is watched, `canaryTrafficPercent` stays at 100 and the spec as it is: 0 then pins
   the previous revision at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.delivery.kserve.objects import Served, served_by, served_by_revision, serves, with_variant
from cd4ml.delivery.kserve.step import Step, holds_all
from cd4ml.delivery.plane import DesiredService, Variant
from cd4ml.errors import ConflictError

__all__ = ["KnativeLook", "knative_base", "knative_look", "knative_step"]

_ALL = 100


@dataclass(frozen=True)
class KnativeLook:
    """An InferenceService in Knative mode, as it was seen.

    Attributes
    ----------
    newest : Served
        What its spec says.
    percent : int or None
        Its `canaryTrafficPercent`.
    created, ready, rolledout, previous : str
        Revisions: the latest one, the latest that is ready, the latest that had all traffic, the one before.
    traffic : mapping
        Revision -> percentage that it gets.
    revisions : mapping
        Revision -> what it serves.
    """

    spec: Mapping[str, Any]
    newest: Served
    percent: int | None = None
    created: str = ""
    ready: str = ""
    rolledout: str = ""
    previous: str = ""
    traffic: Mapping[str, int] | None = None
    revisions: Mapping[str, Served] | None = None

    def served(self, revision: str) -> Served:
        """Return what a revision serves; nothing where nobody knows."""
        return (self.revisions or {}).get(revision, Served())

    def share(self, revision: str) -> int:
        """Return the percentage of a revision."""
        return (self.traffic or {}).get(revision, 0)

    @property
    def taken_up(self) -> bool:
        """The latest revision is the one of the spec."""
        return bool(self.created) and self.served(self.created).same(self.newest)

    @property
    def newest_ready(self) -> bool:
        """The spec's revision is there and ready."""
        return self.taken_up and self.created == self.ready


def knative_look(service: Mapping[str, Any], revisions: Mapping[str, Mapping[str, Any]]) -> KnativeLook:
    """Return what an InferenceService and its revisions say."""
    predictor = service["spec"].get("predictor") or {}
    status = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
    traffic: dict[str, int] = {}
    for target in status.get("traffic") or ():
        revision = str(target.get("revisionName") or "")
        traffic[revision] = traffic.get(revision, 0) + int(target.get("percent") or 0)
    return KnativeLook(
        spec=service["spec"],
        newest=served_by(predictor),
        percent=predictor.get("canaryTrafficPercent"),
        created=str(status.get("latestCreatedRevision") or ""),
        ready=str(status.get("latestReadyRevision") or ""),
        rolledout=str(status.get("latestRolledoutRevision") or ""),
        previous=str(status.get("previousRolledoutRevision") or ""),
        traffic=traffic,
        revisions={name: served_by_revision(one) for name, one in revisions.items()},
    )


def knative_step(look: KnativeLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    """Return what comes next.

    Parameters
    ----------
    base : mapping
        Our fields of the spec while one model alone served.

    Raises
    ------
    ConflictError
        If the spec names a model that cd4ml does not know: somebody else wrote it.
    """
    stable, canary = desired.stable, desired.canary
    if serves(look.newest, stable):
        return _stable_is_newest(look, desired, base)
    if canary and serves(look.newest, canary) and _has_fallback(look, stable):
        return _canary_is_newest(look, desired, base)
    if not look.newest.bundle and not look.newest.same(served_by(base["predictor"])):
        raise ConflictError(
            f"the spec of '{desired.service}' names '{look.newest.location}', which is neither its"
            " stable model nor its canary: somebody else changed it; see its managedFields, and undo that"
        )
    return _replace_newest(look, desired, base)


def _has_fallback(look: KnativeLook, stable: Variant) -> bool:
    """Tell whether what the canary does not get goes to the stable model."""
    rolled_out = look.taken_up and look.created == look.rolledout
    return serves(look.served(look.previous if rolled_out else look.rolledout), stable)


def _stable_is_newest(look: KnativeLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    if not look.newest_ready:
        return Step(waiting=f"the revision of version {desired.stable.version} is not ready")
    if desired.canary is None:
        return _settle(look, desired, base)
    if look.percent is not None and look.percent < _ALL:
        return Step(_same_model(look, base, desired.stable, _ALL), why="all traffic to the new model")
    if look.rolledout != look.created or look.share(look.created) != _ALL:
        return Step(waiting=f"not all traffic is with revision {look.created} yet")
    watched = look.percent == _ALL and serves(look.served(look.previous), desired.canary)
    if watched and not desired.canary_percent:
        return Step()
    return Step(_spec(base, desired.canary, "canary", 0), why="the canary's revision, without traffic")


def _settle(look: KnativeLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    final = knative_base(base, desired.stable)
    percent = final["predictor"].get("canaryTrafficPercent")
    if look.percent != percent or not holds_all(look.spec, final):
        return Step(final, why="one model alone")
    if look.share(look.created) != _ALL:
        return Step(waiting=f"not all traffic is with revision {look.created} yet")
    return Step()


def _canary_is_newest(look: KnativeLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    if desired.canary is None:
        raise AssertionError("there is a canary")
    if not look.newest_ready:
        return Step(waiting=f"the revision of version {desired.canary.version} is not ready")
    wanted = round(desired.canary_percent)
    if look.percent != wanted:
        return Step(_same_model(look, base, desired.canary, wanted), why="the canary's share")
    if look.share(look.created) != wanted:
        return Step(waiting=f"the traffic does not say yet that revision {look.created} gets {wanted} %")
    return Step()


def _replace_newest(look: KnativeLook, desired: DesiredService, base: Mapping[str, Any]) -> Step:
    """Take a model's share away first, then put another one in its place."""
    alone = look.percent in (None, _ALL)
    pinned = _has_fallback(look, desired.stable)
    if alone and not (pinned and look.newest_ready):
        # Nothing else could take its traffic: what shall be comes up beside it.
        return Step(_at_zero(base, desired.stable), why="the stable model beside the other")
    if look.percent != 0:
        return Step(_same_spec(look, base, 0), why="no more traffic for the newest revision")
    if look.taken_up and look.share(look.created) and look.created != look.rolledout:
        return Step(waiting=f"revision {look.created} still gets {look.share(look.created)} %")
    if look.created == look.rolledout:
        # The spec's revision is not made yet, or not taken back. To restore the spec now could make KServe
        # split the traffic over one revision, which it takes for a rollback to the revision before that one.
        return Step(waiting=f"revision {look.created} is not taken back yet")
    if desired.canary and pinned:
        return Step(_spec(base, desired.canary, "canary", 0), why="another canary")
    return Step(_at_zero(base, desired.stable), why="the spec as it was before, still without traffic")


def knative_base(base: Mapping[str, Any], stable: Variant) -> dict[str, Any]:
    """Return our fields of the spec with one model alone: as they were, if they named that model."""
    if serves(served_by(base["predictor"]), stable):
        return copy.deepcopy(dict(base))
    return _spec(base, stable, "stable", None)


def _at_zero(base: Mapping[str, Any], stable: Variant) -> dict[str, Any]:
    found = knative_base(base, stable)
    found["predictor"] = {**found["predictor"], "canaryTrafficPercent": 0}
    return found


def _spec(base: Mapping[str, Any], variant: Variant, endpoint: str, percent: int | None) -> dict[str, Any]:
    found = copy.deepcopy(dict(base))
    predictor = with_variant(base["predictor"], variant, endpoint)
    predictor.pop("canaryTrafficPercent", None)
    found["predictor"] = predictor | ({} if percent is None else {"canaryTrafficPercent": percent})
    return found


def _same_model(look: KnativeLook, base: Mapping[str, Any], variant: Variant, percent: int) -> dict[str, Any]:
    """Return a spec with another share that makes no new revision."""
    if look.newest.bundle:
        return _spec(base, variant, look.newest.endpoint or "stable", percent)
    found = knative_base(base, variant)
    found["predictor"] = {**found["predictor"], "canaryTrafficPercent": percent}
    return found


def _same_spec(look: KnativeLook, base: Mapping[str, Any], percent: int) -> dict[str, Any]:
    found = look.newest
    variant = Variant("", found.version, found.bundle, found.location, found.history)
    return _same_model(look, base, variant, percent)
