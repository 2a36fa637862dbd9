"""How the evidence of a rollout grew, as a bounded list of points for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from cd4ml.delivery.evidence.source import Collected
from cd4ml.domain.rollout.state import Rollout
from cd4ml.domain.sequential.verdict import Evidence

__all__ = ["MOST_POINTS", "grown", "point_of"]

MOST_POINTS = 300
_PARTS = 200
"""A point is kept when so much of the trail's time went by since the last one."""

Point = Mapping[str, Any]


def point_of(rollout: Rollout, collected: Collected, percent: float, at_seconds: float) -> dict[str, Any]:
    """Return what a look saw, as JSON knows it: a number that is none is null.

    `harm` and `safe` are logs of e-values; `percent` is the candidate's share of the answers.
    """
    return {
        "at_seconds": at_seconds,
        "phase": str(rollout.phase),
        "step": rollout.step,
        "percent": percent,
        "elapsed_seconds": rollout.elapsed_seconds,
        "requests": collected.requests,
        "holds": list(collected.holds),
        "evidence": [_evidence(one) for one in collected.evidence],
    }


def _evidence(one: Evidence) -> dict[str, Any]:
    return {
        "name": one.name,
        "harm": _finite(one.harm_log_peak),
        "safe": _finite(one.safe_log_peak),
        "units": one.units,
        "estimate": _finite(one.estimate),
        "low": _finite(one.low),
        "high": _finite(one.high),
        "holds": list(one.holds),
    }


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None


def grown(points: Sequence[Point], new: Point) -> list[Point] | None:
    """Return a trail with a new point, at most `MOST_POINTS` long; None where it need not be written.

    The first point of each step stays; of the others every second one goes when there are too many.
    """
    if points and not _is_new_step(points[-1], new):
        span = new["at_seconds"] - points[0]["at_seconds"]
        if new["at_seconds"] - points[-1]["at_seconds"] < span / _PARTS:
            return None
    found = [*points, new]
    while len(found) > MOST_POINTS:
        kept = [
            point
            for index, point in enumerate(found[:-1])
            if index % 2 == 0 or _is_new_step(found[index - 1], point)
        ]
        if len(kept) + 1 == len(found):  # nothing but first points of steps
            kept = kept[1:]
        found = [*kept, new]
    return found


def _is_new_step(before: Point, point: Point) -> bool:
    return (before["phase"], before["step"]) != (point["phase"], point["step"])
