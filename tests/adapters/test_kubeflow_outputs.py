"""What component bodies write for the dashboard is what kfp can take."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from kfp import dsl

from cd4ml.adapters.kubeflow.outputs import ROC_POINTS, write_curves, write_metrics


def artifact(kind, folder):
    return kind(name="a", uri=str(folder / "a"), metadata={})


def test_metrics_that_are_not_finite_are_left_out_and_the_file_exists(tmp_path):
    metrics = artifact(dsl.Metrics, tmp_path)
    write_metrics(metrics, {"wape": 0.25, "nan": float("nan"), "inf": float("inf"), "rows": 3})
    assert metrics.metadata == {"wape": 0.25, "rows": 3.0}
    assert (tmp_path / "a").exists()


def test_a_confusion_matrix_has_a_row_a_true_class(tmp_path):
    curves = artifact(dsl.ClassificationMetrics, tmp_path)
    write_curves(curves, {"tn": 5, "fp": 1, "fn": 2, "tp": 7}, None)
    matrix = curves.metadata["confusionMatrix"]
    assert [row["row"] for row in matrix["rows"]] == [[5, 1], [2, 7]]
    assert "confidenceMetrics" not in curves.metadata


def test_nothing_is_recorded_for_a_regression_but_the_file_exists(tmp_path):
    curves = artifact(dsl.ClassificationMetrics, tmp_path)
    write_curves(curves, None, None)
    assert curves.metadata == {}
    assert (tmp_path / "a").exists()


def test_a_roc_curve_without_positives_has_no_finite_rates_and_is_left_out(tmp_path):
    curves = artifact(dsl.ClassificationMetrics, tmp_path)
    write_curves(curves, None, [[0.0, float("nan"), 1.0], [1.0, float("nan"), 0.0]])
    assert curves.metadata == {}
    assert (tmp_path / "a").exists()


@settings(deadline=None, max_examples=30)
@given(count=st.integers(2, 3000))
def test_a_roc_curve_keeps_its_ends_and_is_finite_and_short(count, tmp_path_factory):
    curves = artifact(dsl.ClassificationMetrics, tmp_path_factory.mktemp("roc"))
    points = [
        [i / (count - 1), (i / (count - 1)) ** 0.5, float("inf") if i == 0 else 1 - i / count]
        for i in range(count)
    ]
    write_curves(curves, None, points)
    drawn = curves.metadata["confidenceMetrics"]
    assert len(drawn) == min(count, ROC_POINTS)
    assert drawn[0]["falsePositiveRate"] == 0 and drawn[-1]["falsePositiveRate"] == 1
    json.dumps(drawn, allow_nan=False)
