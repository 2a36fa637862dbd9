"""Promote, roll back or go on: what the evidence of all metrics says together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, isnan

from cd4ml.domain.sequential.mixture import log_threshold
from cd4ml.errors import UsageError

__all__ = ["Action", "AtEnd", "Evidence", "Judgement", "Rules", "judge"]


class Action(StrEnum):
    """What follows from the evidence."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    CONTINUE = "continue"


class AtEnd(StrEnum):
    """What happens when the time is over and nothing is decided."""

    ROLL_BACK = "roll_back"
    HOLD = "hold"


@dataclass(frozen=True)
class Evidence:
    """What is known of one metric.

    Attributes
    ----------
    name : str
        E.g. "errors", "slow answers", "squared error, city=Quito".
    harm_log_peak : float
        Largest log of the e-process against "not worse than before"; -inf for what is shown and not judged.
    safe_log_peak : float or None
        The same against "worse by the margin"; None where harm alone is watched.
    units : int
        Observations, of both arms together.
    estimate, low, high : float
        Of what the metric compares, for people; NaN where there is none.
    holds : tuple of str
        Why nothing may be concluded now: a silent source, unequal missingness, contradictions.
    """

    name: str
    harm_log_peak: float
    safe_log_peak: float | None
    units: int
    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    holds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """How evidence is weighed.

    Attributes
    ----------
    alpha : float
        Probability of a false rollback, over all metrics and looks together, and for each metric that of
        promoting what is worse by its margin. Between 0 and 1.
    least_units : int
        Observations that each metric needs before a promotion, unless it is watched for harm alone; 0 asks
        for none.
    budget_seconds : float
        Time after which `at_end` holds; 0 sets no end.
    """

    alpha: float = 0.05
    least_units: int = 0
    budget_seconds: float = 0.0
    at_end: AtEnd = AtEnd.ROLL_BACK

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.least_units < 0 or self.budget_seconds < 0:
            raise UsageError(
                "expected an alpha between 0 and 1 and no negative units or seconds; found"
                f" {self.alpha}, {self.least_units} and {self.budget_seconds}"
            )


@dataclass(frozen=True)
class Judgement:
    """What to do, and why, one line a reason."""

    action: Action
    reasons: tuple[str, ...]


def judge(
    evidence: Sequence[Evidence], rules: Rules, elapsed_seconds: float, doubts: Sequence[str] = ()
) -> Judgement:
    """Return what follows from the evidence at this time.

    A rollback needs one metric whose harm is proven; each of k metrics gets alpha / k, so that a release that
    is as good as what it replaces is rolled back with probability alpha at most, however often this is asked.
    A promotion needs each metric to be proven safe: the worst of them must pass, which costs no correction.
    What holds goes before both: with answers missing, neither is a proof.

    Parameters
    ----------
    evidence : sequence of Evidence
        One a metric and slice; none proves nothing.
    elapsed_seconds : float
        Since this step of the rollout began, of a clock that does not jump.
    doubts : sequence of str
        Why nothing may be promoted, though harm may be found: the canary tells less of itself than it
        should, which makes it look better than it is.
    """
    holds = tuple(f"{one.name}: {reason}" for one in evidence for reason in one.holds)
    over = 0 < rules.budget_seconds <= elapsed_seconds
    if not holds:
        judged = sum(one.harm_log_peak > -inf for one in evidence)
        limit = log_threshold(rules.alpha / max(judged, 1))
        harms = [one for one in evidence if one.harm_log_peak >= limit]
        if harms:
            return Judgement(Action.ROLL_BACK, tuple(_harm(one) for one in harms))
        waiting = (*doubts, *filter(None, (_waiting(one, rules) for one in evidence)))
        if any(one.safe_log_peak is not None for one in evidence) and not waiting:
            judged_ones = (one for one in evidence if one.harm_log_peak > -inf)
            return Judgement(Action.PROMOTE, tuple(_safe(one) for one in judged_ones))
    else:
        waiting = (*holds, *doubts)
    waiting = waiting or ("there is no evidence yet",)
    if over and rules.at_end is AtEnd.ROLL_BACK:
        first = f"the time of {rules.budget_seconds:g} s is over and nothing is proven"
        return Judgement(Action.ROLL_BACK, (first, *waiting))
    return Judgement(Action.CONTINUE, waiting)


def _waiting(one: Evidence, rules: Rules) -> str:
    if one.safe_log_peak is None:
        return ""
    if one.units < rules.least_units:
        return f"{one.name}: {one.units} of at least {rules.least_units} observations"
    if one.safe_log_peak < log_threshold(rules.alpha):
        needed = 1 / rules.alpha
        return f"{one.name}: not shown to be safe yet (e-value {exp(one.safe_log_peak):.3g} of {needed:.3g})"
    return ""


def _estimate(one: Evidence) -> str:
    if isnan(one.estimate):
        return f"{one.units} observations"
    interval = "" if isnan(one.low) else f" ({one.low:.3g} to {one.high:.3g})"
    return f"{one.estimate:.3g}{interval}, {one.units} observations"


def _harm(one: Evidence) -> str:
    return f"{one.name}: worse than the stable version, {_estimate(one)}"


def _safe(one: Evidence) -> str:
    return f"{one.name}: no harm found, {_estimate(one)}"
