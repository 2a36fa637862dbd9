"""How long a change takes from its commit to all of its users, stage by stage.

A stage is the time from one milestone to the next one that is known. A milestone that is not known makes no
stage of 0 seconds: it is missing, and the next one counts from the last that is known. Clocks of several
machines take part, so that a later milestone can bear an earlier time; such a stage is told and takes no part
in what is typical.

References
----------
.. [1] Forsgren, Humble, Kim, 2018, Accelerate (lead time for changes).
.. [2] Theil, 1950; Sen, 1968 (the median slope, which single outliers do not move).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = [
    "MILESTONES",
    "TOTAL",
    "Journey",
    "Stage",
    "Trend",
    "Typical",
    "journey",
    "typical_stages",
    "typical_trend",
]

MILESTONES = (
    *("commit", "started", "trained", "judged", "registered"),
    *("approved", "rollout", "shadow", "canary", "champion"),
)
"""In their order. `started` is the run's start, `rollout` that of the rollout."""
TOTAL = "total"
_TIME_STAMP_SECONDS = 1.0
"""Some clocks are written down in whole seconds: less than that is no step back."""
_LEAST_POINTS = 4
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Stage:
    """How a milestone was reached.

    Attributes
    ----------
    name : str
        The milestone.
    since : str
        The one that is known before it; "" where there is none.
    at_seconds : float or None
        When it was reached, since 1970; None if that is not known.
    seconds : float or None
        Since `since`; None if one of them is not known, or the clocks contradict each other.
    backwards_seconds : float
        By how much it is earlier than `since`; 0 where it is not.
    """

    name: str
    since: str
    at_seconds: float | None
    seconds: float | None
    backwards_seconds: float = 0.0


@dataclass(frozen=True)
class Journey:
    """One version of a model on its way.

    Attributes
    ----------
    commit : str
        Of the code that made it; "" when nobody knows.
    dirty : bool
        Files differed from that commit, so that its time says little about the change.
    stages : tuple of Stage
        One for each of `MILESTONES`.
    total : Stage
        From commit to champion.
    """

    model: str
    version: str
    bundle: str
    commit: str
    dirty: bool
    stages: tuple[Stage, ...]
    total: Stage

    @property
    def missing(self) -> tuple[str, ...]:
        """Milestones that are not known."""
        return tuple(stage.name for stage in self.stages if stage.at_seconds is None)

    @property
    def backwards(self) -> tuple[str, ...]:
        """Milestones that are earlier than the one before them."""
        return tuple(stage.name for stage in (*self.stages, self.total) if stage.backwards_seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "missing": list(self.missing), "backwards": list(self.backwards)}


@dataclass(frozen=True)
class Typical:
    """What a stage takes.

    Attributes
    ----------
    name : str
        A milestone, or `TOTAL`.
    known : int
        Of how many versions the time is known.
    median_seconds, p90_seconds : float or None
        None when of none.
    """

    name: str
    known: int
    missing: int
    backwards: int
    median_seconds: float | None
    p90_seconds: float | None


@dataclass(frozen=True)
class Trend:
    """How the total changes: the median slope in seconds for each day, and its 95 % interval."""

    versions: int
    seconds_per_day: float
    low: float
    high: float


def journey(
    model: str,
    version: str,
    times: Mapping[str, float],
    *,
    bundle: str = "",
    commit: str = "",
    dirty: bool = False,
) -> Journey:
    """Return a version's way from when it reached its milestones.

    Parameters
    ----------
    times : mapping
        Milestone -> seconds since 1970; one that is not known is left out.
    """
    stages, since = [], ""
    for name in MILESTONES:
        stages.append(_stage(name, since, times))
        since = name if name in times else since
    first, last = MILESTONES[0], MILESTONES[-1]
    total = _stage(last, first if first in times else "", times)
    return Journey(model, version, bundle, commit, dirty, tuple(stages), total)


def _stage(name: str, since: str, times: Mapping[str, float]) -> Stage:
    at = times.get(name)
    if at is None or not since:
        return Stage(name, since, at, None)
    seconds = at - times[since]
    if seconds <= -_TIME_STAMP_SECONDS:
        return Stage(name, since, at, None, -seconds)
    return Stage(name, since, at, max(0.0, seconds))


def typical_stages(journeys: Sequence[Journey]) -> list[Typical]:
    """Return what each stage takes, and the total at the end; before the commit there is nothing."""
    by_name = {
        name: [one.stages[place] for one in journeys] for place, name in enumerate(MILESTONES) if place
    }
    by_name[TOTAL] = [one.total for one in journeys]
    return [_typical(name, stages) for name, stages in by_name.items()]


def _typical(name: str, stages: Sequence[Stage]) -> Typical:
    known = [stage.seconds for stage in stages if stage.seconds is not None]
    backwards = sum(1 for stage in stages if stage.backwards_seconds)
    median, p90 = (float(value) for value in np.quantile(known, [0.5, 0.9])) if known else (None, None)
    return Typical(name, len(known), len(stages) - len(known) - backwards, backwards, median, p90)


def typical_trend(journeys: Sequence[Journey]) -> Trend | None:
    """Return how the total changes with time; None while fewer than 4 versions are known."""
    from scipy.stats import theilslopes

    points = [
        (one.total.at_seconds, one.total.seconds)
        for one in journeys
        if one.total.at_seconds is not None and one.total.seconds is not None
    ]
    if len({at for at, _ in points}) < _LEAST_POINTS:
        return None
    days = np.array([at for at, _ in points]) / _DAY_SECONDS
    slope, _, low, high = theilslopes(np.array([seconds for _, seconds in points]), days, 0.95)
    return Trend(len(points), float(slope), float(low), float(high))
