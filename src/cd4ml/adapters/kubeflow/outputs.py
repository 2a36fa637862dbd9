"""What component bodies write into the artifacts that the dashboard draws; knows no kfp."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["ROC_POINTS", "CurvesArtifact", "MetricsArtifact", "write_curves", "write_metrics"]

ROC_POINTS = 200


class MetricsArtifact(Protocol):
    """What is used of `kfp.dsl.Metrics`."""

    path: str

    def log_metric(self, metric: str, value: float) -> None:
        """Record one number."""


class CurvesArtifact(Protocol):
    """What is used of `kfp.dsl.ClassificationMetrics`."""

    path: str

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Record counts, a row a true class."""

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        """Record a curve."""


def write_metrics(artifact: MetricsArtifact, values: Mapping[str, float]) -> None:
    """Record the finite ones of `values`: the others crash kfp.

    The file at the artifact's path is empty; without it kfp.local would take the output for lost.
    """
    for name, value in values.items():
        if math.isfinite(value):
            artifact.log_metric(name, float(value))
    Path(artifact.path).touch()


def write_curves(
    artifact: CurvesArtifact, confusion: Mapping[str, int] | None, roc: Sequence[Sequence[float]] | None
) -> None:
    """Record a confusion matrix and a ROC curve of at most `ROC_POINTS` points; None records nothing.

    Parameters
    ----------
    confusion : mapping with keys tn, fp, fn, tp
    roc : sequence of (false positive rate, true positive rate, threshold)
        A threshold that is not finite (the first of scikit-learn's) becomes 1; points without finite rates
        are left out.
    """
    if confusion is not None:
        counts = {name: int(confusion[name]) for name in ("tn", "fp", "fn", "tp")}
        matrix = [[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]]
        artifact.log_confusion_matrix(["negative", "positive"], matrix)
    points = [point for point in roc or () if math.isfinite(point[0]) and math.isfinite(point[1])]
    if points:
        points = _thinned(points, ROC_POINTS)
        columns: list[list[float]] = [[float(point[axis]) for point in points] for axis in range(3)]
        thresholds = [value if math.isfinite(value) else 1.0 for value in columns[2]]
        artifact.log_roc_curve(columns[0], columns[1], thresholds)
    Path(artifact.path).touch()


def _thinned(points: list[Any], limit: int) -> list[Any]:
    """Return at most `limit` points, evenly by position, with the first and the last."""
    if len(points) <= limit:
        return points
    return [points[round(index * (len(points) - 1) / (limit - 1))] for index in range(limit)]
