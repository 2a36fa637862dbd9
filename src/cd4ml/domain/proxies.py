"""Whether an excluded column comes back through its proxies: how it is weighed, and the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import Interval
from cd4ml.domain.gates import Gate, Status

__all__ = ["CHANCE", "Proxy", "proxy_gates", "proxy_weight", "weighted"]

Measure = Literal["roc_auc", "r2"]
CHANCE: Mapping[str, float] = {"roc_auc": 0.5, "r2": 0.0}
"""What each measure is when a column cannot be told."""
_TITLES = {"roc_auc": "ROC AUC", "r2": "R2"}
_NAMED = 3


@dataclass(frozen=True)
class Proxy:
    """How well a column can be told from the features that a model uses.

    Attributes
    ----------
    column : str
    measure : {"roc_auc", "r2"}
        Of categories (each against the rest, weighted by rows) or of a number.
    found : Interval or None
        On rows that the guess was not fitted on; None where there are too few rows or groups to say.
    weight : float
        How much the model rests on what gives the column away, in [0, 1]; see `proxy_weight`.
    shares : tuple of (feature, share)
        What gives it away, the largest share first; shares sum to 1.
    direct : tuple of str
        Features that hold the column itself.
    rows : int
    reason : str
        Why nothing was found out; else "".
    """

    column: str
    measure: Measure
    found: Interval | None
    weight: float
    shares: tuple[tuple[str, float], ...]
    direct: tuple[str, ...]
    rows: int
    reason: str = ""

    @property
    def weighted(self) -> Interval | None:
        """The measure weighted by importance; see `weighted`."""
        return None if self.found is None else weighted(self.measure, self.found, self.weight)

    def to_dict(self) -> dict[str, Any]:
        """Return what explanations.json says of it."""
        return {
            "column": self.column,
            "measure": self.measure,
            "found": None if self.found is None else self.found.to_dict(),
            "weight": self.weight,
            "weighted": None if self.weighted is None else self.weighted.to_dict(),
            "features": [{"feature": name, "share": share} for name, share in self.shares],
            "direct": list(self.direct),
            "rows": self.rows,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Proxy:
        """Return the proxy that `to_dict` wrote."""
        found = value["found"]
        return cls(
            str(value["column"]),
            value["measure"],
            None if found is None else Interval.from_dict(found),
            float(value["weight"]),
            tuple((str(one["feature"]), float(one["share"])) for one in value["features"]),
            tuple(map(str, value["direct"])),
            int(value["rows"]),
            str(value["reason"]),
        )


def proxy_weight(shares: npt.ArrayLike, importance: npt.ArrayLike) -> float:
    """Return how much a model rests on the features that give a column away, in [0, 1].

    The importance of the proxies taken together, as a multiple of the most important feature's, at most 1:
    sum(s m) / sum(s^2) / max(m) for shares s and importances m. Where one feature gives all away that is its
    importance over the largest; where ten do so alike it is their sum over the largest, so that a column does
    not pass for being spread over many features.

    Parameters
    ----------
    shares : array of shape (k,)
        Of each feature in what gives the column away; not negative.
    importance : array of shape (k,)
        Of each feature to the model; not negative. All 0: nothing is used, and the weight is 0.
    """
    s, m = np.asarray(shares, dtype=np.float64), np.asarray(importance, dtype=np.float64)
    if not s.any() or not m.any():
        return 0.0
    s = s / s.sum()
    return float(min(1.0, (s * m).sum() / (s * s).sum() / m.max()))


def weighted(measure: Measure, found: Interval, weight: float) -> Interval:
    """Return chance + weight * (found - chance), and chance where the guess is worse than that."""
    chance = CHANCE[measure]

    def shrunk(value: float | None) -> float | None:
        return None if value is None else chance + weight * max(0.0, value - chance)

    return Interval(shrunk(found.estimate) or chance, shrunk(found.low), shrunk(found.high))


def proxy_gates(proxies: Sequence[Proxy], limits: Mapping[str, float]) -> list[Gate]:
    """Ask of each excluded column whether it comes back through the features that the model uses.

    Fails where the column is itself a feature, where it was not looked at, and where the whole interval of
    the weighted measure is above the limit; warns where the interval is on both sides, or there is none.

    Parameters
    ----------
    limits : mapping
        `problem.explanations.excluded`: column -> largest weighted AUC (0.5 is chance) or R2 (0 is chance).
    """
    known = {proxy.column: proxy for proxy in proxies}
    return [_gate(column, limit, known.get(column)) for column, limit in sorted(limits.items())]


def _gate(column: str, limit: float, proxy: Proxy | None) -> Gate:
    name = f"proxy:{column}"
    if proxy is None:
        reason = (
            f"{column} is excluded, but nobody looked for its proxies: run explain_model for this problem."
        )
        return Gate(name, "fail", None, limit, None, reason, "model")
    if proxy.direct:
        named = ", ".join(proxy.direct)
        reason = (
            f"{column} is excluded, but the model takes it as a feature ({named}): remove it from `features`."
        )
        return Gate(name, "fail", None, limit, None, reason, "model")
    measured = proxy.weighted
    if measured is None or proxy.found is None:
        reason = f"{column} is excluded; whether it has proxies is unknown: {proxy.reason}."
        return Gate(name, "warn", None, limit, None, reason, "model")
    status, word = _state(measured, limit)
    title = _TITLES[proxy.measure]
    means = ", ".join(feature for feature, _ in proxy.shares[:_NAMED])
    said = (
        f"{column} can be told from the features with {title} {_shown(proxy.found)}, most by {means}; "
        f"weighted by their importance {proxy.weight:.2f} that is {_shown(measured)}, "
        f"{word} the limit {limit:.4g}"
    )
    advice = "." if status == "pass" else f": remove or coarsen {means}, or raise the limit with a reason."
    pair = None if measured.low is None or measured.high is None else (measured.low, measured.high)
    return Gate(name, status, measured.estimate, limit, pair, said + advice, "model")


def _state(measured: Interval, limit: float) -> tuple[Status, str]:
    if measured.low is None or measured.high is None:
        return "warn", "without an interval to hold against"
    if measured.high <= limit:
        return "pass", "surely within"
    return ("fail", "surely above") if measured.low > limit else ("warn", "with an interval on both sides of")


def _shown(value: Interval) -> str:
    if value.low is None or value.high is None:
        return f"{value.estimate:.3f}"
    return f"{value.estimate:.3f} ({value.low:.3f} to {value.high:.3f})"
