"""A waiver turns a finding aside until its last day; after it the finding fails."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from cd4ml.domain.fairness.catalogue import find
from cd4ml.domain.fairness.check import check_bias
from cd4ml.domain.fairness.waiving import covering, held
from cd4ml.problem import Bias, Waiver
from tests.domain.fairness_worlds import decisions, one_column

TODAY = date(2026, 6, 1)


def _waiver(until=TODAY, metric="selection_rate", column="shop", name="*"):
    return Waiver(
        metric=metric, column=column, slice=name, by="A. Person", reason="law of the land", until=until
    )


def _check(waivers, share=0.4, rows=2000, block=("selection_rate",), **more):
    """Return the check of two groups, the first called `share` times as often as the other."""
    code = np.repeat([0, 1], rows)
    called = np.arange(2 * rows) % 10 < np.where(code == 0, round(5 * share), 5)
    policy = Bias(block=list(block), waivers=waivers)
    asked = [find("selection_rate"), find("accuracy")]
    return check_bias(decisions(called), one_column(code, ("a", "b")), asked, policy, today=TODAY, **more)


def _rows(report, metric="selection_rate"):
    return {(row.slice, row.against): row for row in report.rows if row.metric == metric}


def test_without_a_waiver_the_rows_fail():
    assert {row.status for row in _rows(_check([])).values()} == {"fail"}


def test_a_waiver_holds_on_its_last_day_and_is_told():
    report = _check([_waiver()])
    row = _rows(report)["a", "extremes"]
    assert row.status == "waived"
    assert row.waived == {"by": "A. Person", "reason": "law of the land", "until": "2026-06-01"}
    assert "Waived by A. Person until 2026-06-01" in row.reason
    assert report.summary["waivers"][0]["used"] is True
    assert report.summary["waivers"][0]["holds"] is True


def test_an_expired_waiver_fails_and_says_so():
    report = _check([_waiver(TODAY - timedelta(days=1))])
    row = _rows(report)["a", "rest"]
    assert row.status == "fail"
    assert "expired on 2026-05-31" in row.reason
    assert report.summary["waivers"][0]["holds"] is False


def test_an_expired_waiver_makes_a_warning_fail():
    # 0.8 to the point: the interval straddles the limit.
    assert _rows(_check([], share=0.8))["a", "rest"].status == "warn"
    assert _rows(_check([_waiver(date(2026, 1, 1))], share=0.8))["a", "rest"].status == "fail"


def test_an_expired_waiver_of_what_passes_does_nothing():
    rows = _rows(_check([_waiver(date(2026, 1, 1))], share=1.0))
    assert {row.status for row in rows.values()} == {"pass"}


def test_a_waiver_of_one_slice_leaves_the_other():
    rows = _rows(_check([_waiver(name="b")]))
    assert rows["b", "rest"].status == "waived"
    assert rows["a", "rest"].status == "fail"
    assert rows["a", "extremes"].status == "fail"


@pytest.mark.parametrize("changed", [{"metric": "accuracy"}, {"column": "sex"}, {"slice": "c"}])
def test_a_waiver_of_something_else_does_not_help(changed):
    waiver = _waiver().model_copy(update=changed)
    report = _check([waiver])
    assert _rows(report)["a", "rest"].status == "fail"
    assert report.summary["waivers"][0]["used"] is False


def test_insufficient_data_are_waived_too():
    rows = _rows(_check([_waiver(metric="*")], rows=100))
    assert {row.status for row in rows.values()} == {"waived"}


def test_of_two_waivers_the_one_that_holds_longest_counts():
    old, new = _waiver(date(2025, 1, 1)), _waiver(date(2027, 1, 1), metric="*")
    found = covering([new, old], "selection_rate", "shop", "a")
    assert found is new
    assert covering([old, new], "selection_rate", "shop", "a") is new
    assert held(new, TODAY)
    assert not held(old, TODAY)


def test_rows_from_before_training_only_warn_even_under_an_expired_waiver():
    measure = find("positive_label_rate")
    code = np.repeat([0, 1], 2000)
    y = np.arange(4000) % 10 < np.where(code == 0, 1, 5)
    sample = replace(decisions(np.zeros(4000), y), score=None)
    policy = Bias(block=[measure.name], waivers=[_waiver(date(2026, 1, 1), metric="*")])
    report = check_bias(sample, one_column(code), [measure], policy, today=TODAY)
    assert report.rows
    assert {row.family for row in report.rows} == {"warning"}
    assert "fail" not in {row.status for row in report.rows}
    assert "warn" in {row.status for row in report.rows}
