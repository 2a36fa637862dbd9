"""Features in words that a buyer can read."""

import pytest

from cd4ml.adapters import problem_files
from cd4ml.features.plan import compile_plan
from cd4ml.serving.feature_words import describe_feature, describe_value

PLAN = compile_plan(problem_files.load("sales-forecast"))
FEATURES = {feature.name: feature for feature in PLAN.features}
DAY = 86_400


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("promoted", "promoted"),
        ("family", "family"),
        ("date_day_of_week", "day of week"),
        ("log_sales_lag_16d", "log_sales 16 days before"),
        ("log_sales_lag_21d", "log_sales 3 weeks before"),
        ("log_sales_std_28d", "spread of log_sales over 4 weeks"),
        ("log_sales_by_item_nbr_mean_28d", "mean of log_sales of the same item_nbr over 4 weeks"),
        ("oil_price_by_all_mean_28d", "mean of oil_price overall over 4 weeks"),
        ("log_sales_season_7d_4", "mean of log_sales at the last 4 same times, 1 week apart"),
        ("age", "time since it was first seen"),
    ],
)
def test_a_feature_is_said_in_words(name: str, said: str) -> None:
    assert describe_feature(PLAN, FEATURES[name], DAY) == said


def test_every_feature_of_every_shipped_problem_can_be_said() -> None:
    for name in ("sales-forecast", "bike-demand", "adult-income"):
        plan = compile_plan(problem_files.load(name))
        assert all(describe_feature(plan, feature, 3600) for feature in plan.features)


def test_days_and_months_have_their_names() -> None:
    assert describe_value(FEATURES["date_day_of_week"], 0.0) == "Monday"
    assert describe_value(FEATURES["date_month"], 12.0) == "December"
    assert describe_value(FEATURES["date_month"], None) is None
    assert describe_value(FEATURES["promoted"], 1.0) == 1.0
