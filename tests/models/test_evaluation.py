"""The evaluation: what the report draws, against sums done by hand."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cd4ml.domain.metrics import score
from cd4ml.errors import MetricError
from cd4ml.models.evaluation import Holdout, compare, evaluate, metric_table, metrics_of
from cd4ml.problem import Problem
from tests.models.bundles import category, people, shop

DAY = np.timedelta64(86400, "s")


def holdout(y: Any, days: int = 10, per_day: int = 1, start: str = "2020-01-01") -> Holdout:
    y = np.asarray(y, dtype=np.float64)
    day = np.repeat(np.arange(days), per_day)[: len(y)]
    return Holdout(
        y=y,
        weight=np.ones(len(y)),
        cluster=day.astype(np.int64),
        times=np.datetime64(start, "s") + day * DAY,
        baselines={"mean": np.full(len(y), y.mean())},
        slices={"half": category(["first" if i < len(y) / 2 else "second" for i in range(len(y))])},
    )


def regression(days: int = 10, per_day: int = 30) -> tuple[Problem, Holdout, Any]:
    rng = np.random.Generator(np.random.PCG64(1))
    y = rng.poisson(20, days * per_day).astype(np.float64)
    return shop().problem, holdout(y, days, per_day), np.maximum(y + rng.normal(1, 3, len(y)), 0)


def classification(rows: int = 4000) -> tuple[Problem, Holdout, Any]:
    rng = np.random.Generator(np.random.PCG64(2))
    p = rng.random(rows)
    found = holdout(rng.random(rows) < p, rows)
    return people().problem, replace(found, times=np.full(rows, np.datetime64("NaT", "s"))), p


@pytest.mark.parametrize("case", [regression, classification])
def test_it_is_json_with_every_part_that_the_report_draws(case: Any) -> None:
    problem, held, predicted = case()
    page = evaluate(problem, held, predicted)
    json.dumps(page, allow_nan=False)
    common = {"task", "primary", "holdout", "over_time", "slices", "clipped_negative"}
    own = {
        "regression": {"residuals", "deciles", "stock"},
        "classification": {"calibration", "confusion", "roc", "pr"},
    }
    assert set(page) == common | own[problem.task]


def test_the_primary_metric_comes_first_and_none_twice() -> None:
    assert metrics_of(shop().problem) == ["wape", "rmsle", "bias"]
    twice = shop().problem.metrics.model_copy(update={"also": ["rmsle", "wape"]})
    assert metrics_of(shop().problem.model_copy(update={"metrics": twice})) == ["wape", "rmsle"]


def test_the_metric_table_has_model_baselines_and_candidates_on_the_same_rows() -> None:
    problem, held, predicted = regression()
    found = metric_table(problem, held, predicted, {"forest": held.y})
    wape = float(np.abs(predicted - held.y).sum() / held.y.sum())
    assert found["holdout"]["wape"]["estimate"] == pytest.approx(wape)
    assert found["holdout"]["wape"]["low"] < wape < found["holdout"]["wape"]["high"]
    assert set(found["candidates"]) == {"mean", "forest"}
    assert found["candidates"]["forest"]["wape"]["estimate"] == 0
    assert found["candidates"]["mean"] == found["baselines"]["mean"]


def test_a_pinball_metric_is_that_of_the_stock_quantile() -> None:
    problem, held, predicted = regression()
    metrics = problem.metrics.model_copy(update={"also": ["pinball"]})
    found = metric_table(problem.model_copy(update={"metrics": metrics}), held, predicted, {})
    short = held.y - predicted
    expected = np.maximum(0.75 * short, -0.25 * short).mean()
    assert found["holdout"]["pinball"]["estimate"] == pytest.approx(expected)


def test_improvements_are_against_each_baseline_and_zero_means_equal() -> None:
    problem, held, predicted = regression()
    assert compare(problem, held, held.baselines["mean"])["mean"].estimate == 0
    better = compare(problem, held, predicted)["mean"]
    ours, theirs = (np.abs(p - held.y).sum() for p in (predicted, held.baselines["mean"]))
    assert better.estimate == pytest.approx(1 - ours / theirs)
    assert better.low is not None
    assert better.low > 0


def test_sums_over_time_add_up_and_follow_the_calendar() -> None:
    problem, held, predicted = regression()
    found = evaluate(problem, held, predicted)["over_time"]
    assert [row["time"] for row in found] == [f"2020-01-{day:02d}" for day in range(1, 11)]
    assert sum(row["actual"] for row in found) == pytest.approx(held.y.sum())
    assert sum(row["predicted"] for row in found) == pytest.approx(predicted.sum())
    assert sum(row["baselines"]["mean"] for row in found) == pytest.approx(held.y.sum())
    assert found[3]["n"] == 30
    first = slice(0, 30)
    expected = np.abs(predicted[first] - held.y[first]).sum() / held.y[first].sum()
    assert found[0]["wape"]["estimate"] == pytest.approx(expected)


@pytest.mark.parametrize(("days", "spans"), [(1, 1), (60, 60), (61, 31), (365, 53), (1000, 59)])
def test_a_long_holdout_is_cut_into_at_most_sixty_spans(days: int, spans: int) -> None:
    problem, held, predicted = regression(days, 2)
    assert len(evaluate(problem, held, predicted)["over_time"]) == spans


def test_days_without_rows_make_no_span_and_a_day_without_sales_no_value() -> None:
    y = np.array([3.0, 0.0, 0.0, 5.0])
    held = replace(holdout(y, 4), times=np.datetime64("2020-01-01", "s") + np.array([0, 2, 2, 9]) * DAY)
    found = evaluate(shop().problem, held, y)["over_time"]
    assert [row["time"] for row in found] == ["2020-01-01", "2020-01-03", "2020-01-10"]
    assert [row["wape"] is None for row in found] == [False, True, False]


@pytest.mark.parametrize("times", [None, np.full(4000, np.datetime64("NaT", "s"))])
def test_without_time_nothing_is_drawn_over_it(times: Any) -> None:
    problem, held, predicted = classification()
    page = evaluate(problem, replace(held, times=times), predicted)
    assert page["over_time"] == []
    assert page["holdout"] == {"rows": 4000, "clusters": 4000}


def test_the_extent_has_first_and_last_time() -> None:
    problem, held, predicted = regression()
    found = evaluate(problem, held, predicted)["holdout"]
    assert found["rows"] == 300
    assert (found["first"], found["last"]) == ("2020-01-01T00:00:00", "2020-01-10T00:00:00")


def test_slices_have_the_metric_of_their_rows_and_null_is_none_of_them() -> None:
    problem, held, predicted = regression()
    codes = held.slices["half"].codes.copy()
    codes[:10] = -1
    cut = replace(held, slices={"half": type(held.slices["half"])(codes, ("first", "second", "never"))})
    found = evaluate(problem, cut, predicted)["slices"]["half"]
    assert [(item["slice"], item["n"]) for item in found] == [("first", 140), ("second", 150)]
    alone = score(["wape"], held.y[150:], predicted[150:])["wape"].estimate
    assert found[1]["wape"]["estimate"] == pytest.approx(alone)


def test_residuals_count_predicted_less_actual_without_the_tails() -> None:
    problem, held, predicted = regression()
    found = evaluate(problem, held, predicted)["residuals"]
    assert len(found["edges"]) == len(found["counts"]) + 1 == 41
    low, high = np.quantile(predicted - held.y, [0.005, 0.995])
    assert (found["edges"][0], found["edges"][-1]) == (pytest.approx(low), pytest.approx(high))
    inside = ((predicted - held.y >= low) & (predicted - held.y <= high)).sum()
    assert sum(found["counts"]) == inside


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e16])
def test_residuals_that_are_all_alike_are_one_bar(offset: float) -> None:
    y = np.arange(20, dtype=np.float64)
    found = evaluate(shop().problem, holdout(y, 20), y + offset)["residuals"]
    assert sum(found["counts"]) == 20


def test_deciles_rise_and_hold_all_rows() -> None:
    problem, held, predicted = regression()
    found = evaluate(problem, held, predicted)["deciles"]
    assert [item["n"] for item in found] == [30] * 10
    assert np.all(np.diff([item["predicted"] for item in found]) > 0)
    assert np.mean([item["actual"] for item in found]) == pytest.approx(held.y.mean())
    few = holdout([1.0, 2.0, 4.0], 3)
    assert len(evaluate(shop().problem, few, few.y)["deciles"]) == 3


def test_a_calibrated_model_lies_within_the_intervals_and_they_follow_the_level() -> None:
    problem, held, predicted = classification()
    found = evaluate(problem, held, predicted)["calibration"]
    assert sum(item["n"] for item in found) == 4000
    assert np.mean([item["low"] <= item["predicted"] <= item["high"] for item in found]) > 0.8
    assert all(0 <= item["low"] <= item["actual"] <= item["high"] <= 1 for item in found)
    wide = problem.model_copy(update={"metrics": problem.metrics.model_copy(update={"level": 0.999})})
    other = evaluate(wide, held, predicted)["calibration"]
    assert all(b["high"] - b["low"] > a["high"] - a["low"] for a, b in zip(found, other, strict=True))


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    """8 of 10: 0.490 to 0.943 at 95 %, see Newcombe, 1998, Statistics in Medicine 17, table I."""
    held = holdout([1.0] * 8 + [0.0] * 2, 10)
    problem = people().problem
    found = evaluate(problem, replace(held, slices={}), np.full(10, 0.8))["calibration"]
    assert len(found) == 1
    assert (found[0]["low"], found[0]["high"]) == (
        pytest.approx(0.490, abs=1e-3),
        pytest.approx(0.943, abs=1e-3),
    )


def test_the_confusion_is_at_one_half_and_the_curves_span_the_square() -> None:
    problem, held, predicted = classification()
    page = evaluate(problem, held, predicted)
    called = predicted >= 0.5
    assert page["confusion"]["tp"] == int((called & (held.y == 1)).sum())
    assert sum(page["confusion"].values()) == 4000
    assert [list(point)[:2] for point in (page["roc"][0], page["roc"][-1])] == [[0, 0], [1, 1]]
    assert page["pr"][-1][0] == 1
    assert page["clipped_negative"] == 0


def test_negative_predictions_are_counted_where_a_logarithm_cuts_them() -> None:
    problem, held, predicted = regression()
    assert evaluate(problem, held, predicted - 15)["clipped_negative"] == int((predicted < 15).sum())


def test_stock_costs_are_those_of_too_few_and_too_many() -> None:
    held = holdout([10.0, 10.0, 10.0, 10.0], 4)
    order, model = np.array([12.0, 12.0, 9.0, 10.0]), np.array([8.0, 8.0, 8.0, 8.0])
    found = evaluate(shop().problem, held, model, order)["stock"]
    assert found["quantile"] == 0.75
    assert found["cost_per_row"] == {"quantile": (2 + 2 + 3 * 1) / 4, "model": 3 * 2, "mean": 0.0}
    assert found["coverage"] == {"aimed": 0.75, "found": 0.75}
    assert found["pinball"]["estimate"] == pytest.approx((0.25 * 4 + 0.75) / 4)


def test_without_stock_costs_a_quantile_is_not_judged() -> None:
    problem, held, predicted = regression()
    assert evaluate(problem, held, predicted)["stock"] is None
    without = problem.model_copy(update={"stock": None})
    assert evaluate(without, held, predicted, predicted)["stock"] is None


def test_a_prediction_that_is_no_number_is_refused_by_its_rows() -> None:
    problem, held, predicted = regression()
    predicted[7] = np.nan
    with pytest.raises(MetricError, match="row 7"):
        metric_table(problem, held, predicted, {})
