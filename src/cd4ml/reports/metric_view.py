"""How a metric is named, which of two values is better, and how its values are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.domain.metrics import METRICS
from cd4ml.reports.figures import Dot
from cd4ml.reports.formats import alike, finite, limits, percent, words
from cd4ml.reports.page import Estimate

__all__ = ["MetricView", "best_baseline", "estimate_of", "estimates", "interval_dot"]

Json = Mapping[str, Any]
_INITIALS = {"auc", "mae", "nwrmsle", "pr", "rmse", "rmsle", "roc", "wape"}
_WRITTEN = {"r2": "R²", "f1": "F1"}


class MetricView:
    """A metric's name as it is written, and which of two values is worse."""

    def __init__(self, name: str) -> None:
        known = METRICS.get(name)
        parts = (part.upper() if part in _INITIALS else part for part in words(name).split())
        self.name = name
        self.title = _WRITTEN.get(name) or " ".join(parts)
        self.best = known.best if known else 0.0
        self.higher = bool(known and known.higher_is_better)
        self.direction = "higher is better" if self.higher else "lower is better"
        self.description = known.description if known else words(name)

    def distance(self, value: object) -> float:
        """Return how far from ideal; infinite for what was not measured."""
        known = finite(value)
        return float("inf") if known is None else abs(self.best - known)

    @property
    def axis(self) -> str:
        """The axis title."""
        return f"{self.title} ({self.direction})"

    def gain(self, value: object, reference: object) -> str:
        """Say by what share of the reference's error a value is smaller or larger; "" where it has none."""
        own, other = self.distance(value), self.distance(reference)
        if finite(own) is None or finite(other) is None or not other:
            return ""
        share = (other - own) / other
        return f"{percent(abs(share))} {'smaller' if share >= 0 else 'larger'}"


def estimate_of(value: object) -> float | None:
    """Return the estimate of an interval, or of a bare number."""
    return finite(value.get("estimate") if isinstance(value, Mapping) else value)


def estimates(values: Sequence[object]) -> list[Estimate]:
    """Write intervals that are compared with each other, with the same decimals."""
    flat = [one for value in values for one in (estimate_of(value), *limits(value))]
    said = alike(flat)
    return [
        Estimate(said[3 * index], f"{low} to {high}" if "–" not in (low, high) and low != high else "")
        for index, (low, high) in enumerate(zip(said[1::3], said[2::3], strict=True))
    ]


def interval_dot(label: str, value: object, mark: int = 0, note: str = "") -> Dot:
    """Return the row of a dot chart for an interval."""
    low, high = limits(value)
    return Dot(label, estimate_of(value), low, high, mark, note)


def best_baseline(metrics: Json, metric: MetricView) -> tuple[str, Any] | None:
    """Return the name and interval of the baseline that is nearest to ideal."""
    found = [(name, values.get(metric.name)) for name, values in (metrics.get("baselines") or {}).items()]
    measured = [(name, value) for name, value in found if estimate_of(value) is not None]
    return min(measured, key=lambda one: metric.distance(estimate_of(one[1])), default=None)
