"""The check as a whole: what fails, warns or has insufficient data, and that none reads as another."""

import json
import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cd4ml.domain.fairness.catalogue import find, measures
from cd4ml.domain.fairness.check import BiasReport, check_bias, merge
from cd4ml.domain.fairness.gate import bias_gates
from cd4ml.domain.fairness.slices import build_slices
from cd4ml.errors import DataError, UsageError
from cd4ml.problem import Bias
from tests.domain.fairness_worlds import column, decisions, forecasts, one_column

TODAY = date(2026, 6, 1)
ISSUE_KEYS = {"metric", "column", "slice", "n", "clusters", "estimate", "reference", "ratio"}
ISSUE_KEYS |= {"low", "high", "adjusted_p", "margin", "status"}


def _called(shares, rows=2000):
    """Return decisions of groups with the given shares called, and their column."""
    code = np.repeat(np.arange(len(shares)), rows)
    called = (np.arange(code.size) % 100) < np.round(100 * np.asarray(shares))[code]
    return decisions(called), one_column(code)


def _check(sample, slices, names=("selection_rate",), policy=None, **more):
    policy = policy or Bias(block=list(names))
    return check_bias(sample, slices, [find(name) for name in names], policy, today=TODAY, **more)


def _row(report, name, against="rest", metric=None):
    found = [r for r in report.rows if (r.slice, r.against) == (name, against)]
    return next(r for r in found if metric in (None, r.metric))


def test_a_group_called_a_third_as_often_fails_with_its_numbers():
    report = _check(*_called([0.1, 0.3]))
    row = _row(report, "s0", "extremes")
    assert row.status == "fail"
    assert row.ratio == pytest.approx(1 / 3)
    assert row.low < 1 / 3 < row.high < 0.8
    assert (row.n, row.clusters, row.effective_clusters) == (2000, 2000, 2000.0)
    assert row.adjusted_p < 1e-6
    assert "four-fifths rule" in row.reason
    assert "0.333" in row.reason


def test_both_the_group_called_too_seldom_and_the_one_too_often_fail():
    report = _check(*_called([0.3, 0.3, 0.3, 0.1]))
    assert _row(report, "s3").status == "fail"
    report = _check(*_called([0.1, 0.1, 0.1, 0.3]))
    assert _row(report, "s3").status == "fail"
    assert _row(report, "s3").ratio == pytest.approx(3.0)


@pytest.mark.parametrize(("share", "status"), [(0.3, "pass"), (0.24, "warn"), (0.12, "fail")])
def test_four_fifths_has_three_states(share, status):
    assert _row(_check(*_called([share, 0.3], rows=5000)), "s0", "extremes").status == status


def test_a_blocking_row_that_straddles_warns_and_one_within_passes():
    report = _check(*_called([0.24, 0.3], rows=5000))
    assert _row(report, "s0").status == "warn"
    assert "neither kept nor broken" in _row(report, "s0").reason
    assert _row(_check(*_called([0.3, 0.3])), "s0").status == "pass"


def test_a_slice_with_too_few_rows_has_insufficient_data_whatever_its_rate():
    for rate in (0.0, 0.3):
        code = np.repeat([0, 1, 2], [150, 3000, 3000])
        called = np.arange(code.size) % 100 < np.where(code == 0, 100 * rate, 30)
        report = _check(decisions(called), one_column(code))
        row = _row(report, "s0")
        assert (row.status, row.adjusted_p) == ("insufficient_data", None)
        assert "the slice has 150 rows, and 200 are needed" in row.reason
        assert row.estimate == pytest.approx(called[code == 0].mean())


def test_a_slice_in_few_clusters_has_insufficient_data():
    sample, slices = _called([0.3, 0.3], rows=1200)
    cluster = np.where(np.arange(2400) < 1200, np.arange(2400) % 4, np.arange(2400) % 300)
    row = _row(_check(sample, slices, cluster=cluster), "s0")
    assert row.status == "insufficient_data"
    assert "effective clusters" in row.reason
    assert row.effective_clusters == pytest.approx(4.0)


def test_a_slice_whose_rows_are_nearly_all_of_one_day_has_insufficient_data():
    sample, slices = _called([0.3, 0.3], rows=1000)
    cluster = np.where(np.arange(2000) < 980, 0, np.arange(2000) % 50)
    row = _row(_check(sample, slices, cluster=cluster), "s0")
    assert row.clusters > 10
    assert row.effective_clusters < 1.1
    assert row.status == "insufficient_data"


def test_a_rest_of_few_clusters_counts_as_much_as_a_slice_of_few():
    code = np.repeat([0, 1], 1200)
    cluster = np.where(code == 0, np.arange(2400) % 100, 100 + np.arange(2400) % 6)
    rng = np.random.default_rng(0)
    called = rng.random(2400) < np.where(code == 0, 0.3, 0.45)
    report = _check(decisions(called), one_column(code), ("selection_rate_difference",), cluster=cluster)
    few, many = _row(report, "s1"), _row(report, "s0")
    assert (few.clusters, many.clusters) == (6, 100)
    assert few.ratio == pytest.approx(-many.ratio)
    assert few.adjusted_p == pytest.approx(many.adjusted_p)


def test_a_true_positive_rate_of_few_positives_has_insufficient_data():
    code = np.repeat([0, 1], 2000)
    y = np.arange(4000) % 200 < np.where(code == 0, 1, 100)
    report = _check(decisions(np.zeros(4000), y), one_column(code), ["true_positive_rate"])
    row = _row(report, "s0")
    assert row.status == "insufficient_data"
    assert "about 10 rows" in row.reason


def test_a_slice_that_is_everything_has_insufficient_data_for_want_of_a_rest():
    report = _check(*_called([0.3]))
    assert {row.status for row in report.rows} == {"insufficient_data"}
    assert "the others have 0 rows" in _row(report, "s0").reason


def test_a_rate_that_is_undefined_has_insufficient_data():
    report = _check(*_called([0.0, 0.0]))
    assert {row.status for row in report.rows} == {"insufficient_data"}


def test_other_measures_warn_at_most():
    policy = Bias(block=["selection_rate"])
    report = _check(*_called([0.1, 0.3]), ("selection_rate", "selection_rate_difference"), policy)
    row = _row(report, "s0", metric="selection_rate_difference")
    assert (row.family, row.status) == ("warning", "warn")
    assert row.ratio == pytest.approx(-0.2)
    assert report.families == {"blocking": 3, "warning": 2}


def test_what_is_not_judged_is_shown():
    report = _check(*_called([0.1, 0.3]), ("predicted_positive_share",))
    row = _row(report, "s0")
    assert (row.status, row.margin, row.adjusted_p) == ("pass", None, None)
    assert row.ratio == pytest.approx(0.25)
    assert "shown and not judged" in row.reason
    assert bias_gates(report) == []


def test_the_reference_is_the_largest_group_or_the_named_one():
    sample, slices = _called([0.3, 0.15, 0.3])
    assert {r.against for r in _check(sample, slices).rows} == {"rest", "reference:s0", "extremes"}
    named = _check(sample, slices, references={"shop": "s1"})
    row = _row(named, "s0", "reference:s1")
    assert row.ratio == pytest.approx(2.0)
    assert row.reference == pytest.approx(0.15)
    assert not [r for r in named.rows if r.slice == "s1" and r.against == "reference:s1"]
    policy = Bias(block=["selection_rate"], references={"shop": "s1"})
    assert _row(_check(sample, slices, policy=policy), "s0", "reference:s1").ratio == pytest.approx(2.0)


def test_a_reference_without_rows_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"bias.references.shop .* found 's9'"):
        _check(*_called([0.3, 0.3, 0.3]), references={"shop": "s9"})


def test_rows_that_do_not_match_are_refused():
    sample, slices = _called([0.3, 0.3])
    with pytest.raises(UsageError, match="must have the sample's 100 rows"):
        _check(sample.take(np.arange(100)), slices)
    with pytest.raises(UsageError, match="must have the sample's"):
        _check(sample, slices, champion=sample.take(np.arange(100)))


def test_a_slice_that_fares_worse_than_under_the_champion_warns():
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1, 2], 2000)
    error = rng.gamma(9, 1, code.size)
    champion, ours = forecasts(error), forecasts(error * np.where(code == 1, 1.3, 1.0))
    report = _check(ours, one_column(code), ("mae",), champion=champion)
    rows = {r.slice: r for r in report.rows if r.against == "champion"}
    assert rows["s1"].ratio == pytest.approx(1.3)
    assert {name: row.status for name, row in rows.items()} == {"s0": "pass", "s1": "warn", "s2": "pass"}
    assert rows["s1"].margin == pytest.approx(1.1)
    assert rows["s1"].high - rows["s1"].low < 0.01  # paired: what both share cancels


def test_the_same_rows_give_the_same_report_and_another_seed_another_interval():
    first, again, other = (_check(*_called([0.1, 0.3]), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.rows[0].low != other.rows[0].low


def test_the_report_survives_its_json():
    report = _check(*_called([0.1, 0.3, 0.2]))
    written = json.loads(json.dumps(report.to_dict()))
    assert BiasReport.from_dict(written) == report
    assert set(written["rows"][0]) >= ISSUE_KEYS
    assert written["families"] == report.families
    assert written["alpha"] == 0.05


def test_what_is_no_report_is_refused():
    with pytest.raises(DataError, match="lacks 'summary'"):
        BiasReport.from_dict({"rows": []})
    written = _check(*_called([0.1, 0.3])).to_dict()
    del written["rows"][0]["against"]
    with pytest.raises(DataError, match="lacks against"):
        BiasReport.from_dict(written)


def test_merged_reports_keep_their_rows_and_count_them_all():
    one, two = _check(*_called([0.1, 0.3])), _check(*_called([0.3, 0.3]))
    both = merge([one, two], Bias(), TODAY, informs=["shop"])
    assert both.rows == one.rows + two.rows
    assert sum(both.summary["status"].values()) == len(both.rows)
    assert bias_gates(both) == []


@pytest.fixture(scope="module")
def adult():
    """Return actual values, sex and race of adult.test."""
    if "CD4ML_TEST_DATA" not in os.environ:
        pytest.skip("CD4ML_TEST_DATA names no folder of real tables")
    text = (Path(os.environ["CD4ML_TEST_DATA"]) / "adult" / "adult.test").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in text if line.count(",") == 14]
    y = np.array([row[14].startswith(">50K") for row in rows], dtype=float)
    coded = {}
    for name, place in (("sex", 9), ("race", 8)):
        names, codes = np.unique([row[place] for row in rows], return_inverse=True)
        coded[name] = column(codes, [str(one) for one in names])
    return y, coded


def test_adult_is_rejected_for_sex_even_with_the_truth_as_prediction(adult):
    y, coded = adult
    sample = decisions(y)
    slices = build_slices(coded, 2, 200)
    report = check_bias(sample, slices, measures("classification", "post", sample), Bias(), today=TODAY)
    gate = {gate.name: gate for gate in bias_gates(report)}["bias:selection_rate:sex"]
    women, men = (y[coded["sex"].codes == code].mean() for code in (0, 1))
    assert gate.status == "fail"
    assert gate.measured == pytest.approx(women / men)
    assert gate.limit == 0.8
    for part in ("sex", "Female", f"{women / men:.3g}", "four-fifths", f"{gate.interval[1]:.3g}"):
        assert part in gate.reason
    pooled = [row.slice for row in report.rows if row.slice.startswith("pooled rare")]
    assert set(pooled) == {"pooled rare (2 cells)", "pooled rare (5 cells)"}
    rare = [row for row in report.rows if row.slice == "Amer-Indian-Eskimo" and row.margin is not None]
    assert {row.status for row in rare} == {"insufficient_data"}
