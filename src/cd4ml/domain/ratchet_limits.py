"""Limits that tighten: how bad a metric may be again, whatever the last champion was.

Margins alone would let releases get worse by a little each. So each version keeps a limit: an error that no
later challenger may exceed. It begins at the first version's error plus the margin, tightens when a
challenger has surely less error, and is never loosened. A limit is known by its distance from the version
that carries it; that version is scored anew beside each challenger, so the limit holds on newer rows as well.

References
----------
.. [1] Blum, Hardt, 2015, The Ladder: A Reliable Leaderboard for Machine Learning Competitions (the record
   moves on a sure gain alone).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cd4ml.domain.metric_table import MetricSpec, find
from cd4ml.domain.ratchet import Comparison
from cd4ml.errors import IntegrityError

__all__ = ["Limit", "allowance", "first_limit", "next_limit"]


@dataclass(frozen=True)
class Limit:
    """How bad a metric may ever be again, as the registry keeps it with a version.

    Attributes
    ----------
    value : float
        The metric's limit on the holdout on which the version was judged.
    score : float
        The metric of the version itself there.
    """

    value: float
    score: float

    def to_dict(self) -> dict[str, float]:
        """Return the limit as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Limit:
        """Return the limit that `to_dict` wrote; IntegrityError when it is none."""
        try:
            return cls(float(found["value"]), float(found["score"]))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"a limit of the ratchet lacks a sound 'value' or 'score' ({error}); restore the record"
            ) from error


def allowance(metric: str, limit: Limit | None, margin: float) -> float:
    """Return the largest ratio of a challenger's error to that of the champion which carries `limit`.

    At most 1 + `margin`; what champions before lost is taken off. At least 1: who is equal to the champion
    never fails, also where a person approved a champion beyond the limit.
    """
    whole = 1 + margin
    return whole if limit is None else max(1.0, min(whole, _left(find(metric).spec, limit, whole)))


def first_limit(metric: str, score: float, margin: float) -> Limit:
    """Return the limit that the first version sets: its own error and the margin."""
    spec = find(metric).spec
    return Limit(_value(spec, abs(spec.best - score) * (1 + margin)), score)


def next_limit(metric: str, comparison: Comparison, limit: Limit | None, margin: float) -> Limit:
    """Return the limit that a challenger carries on when it takes the champion's place.

    Parameters
    ----------
    comparison : Comparison
        Of challenger and champion. With a gain the limit tightens to the high end of what the challenger's
        error may be, and the margin: what luck may have given is not kept.
    limit : Limit or None
        What the champion carries; None is like one that it set itself.
    """
    spec, whole, row = find(metric).spec, 1 + margin, comparison.overall
    assert row.challenger is not None and row.champion is not None  # `compare` raises else
    champion = abs(spec.best - row.champion)
    error = champion * (whole if limit is None else _left(spec, limit, whole))
    if comparison.gain and row.high is not None:
        error = min(error, champion * row.high * whole)
    return Limit(_value(spec, error), row.challenger)


def _left(spec: MetricSpec, limit: Limit, whole: float) -> float:
    """Return the error at the limit over the error of the version that carries it."""
    own = abs(spec.best - limit.score)
    return abs(spec.best - limit.value) / own if own else whole


def _value(spec: MetricSpec, error: float) -> float:
    return spec.best - error if spec.higher_is_better else spec.best + error
