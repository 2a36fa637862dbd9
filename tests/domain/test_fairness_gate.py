"""Gates over bias rows: the worst row speaks, insufficient data never pass."""

from dataclasses import replace

import pytest

from cd4ml.domain.fairness.gate import bias_gates
from cd4ml.domain.fairness.rows import BiasReport, BiasRow
from cd4ml.domain.judge import decide

ROW = BiasRow(
    metric="selection_rate",
    label="Selection rate",
    stage="post",
    column="sex",
    slice="Female",
    against="rest",
    compare="rate_ratio",
    n=1000,
    clusters=1000,
    effective_clusters=1000.0,
    estimate=0.2,
    reference=0.2,
    shrunk=0.2,
    ratio=1.0,
    low=0.9,
    high=1.1,
    adjusted_p=1.0,
    margin=0.8,
    family="blocking",
    status="pass",
    waived=None,
    reason="It passes.",
)
LACKING = replace(
    ROW, status="insufficient_data", adjusted_p=None, ratio=None, low=None, high=None, reason="Too few."
)
WARNING = replace(ROW, family="warning", metric="accuracy", compare="difference", margin=0.1, ratio=0.0)


def _gates(*rows, **summary):
    return bias_gates(BiasReport(rows, summary, 0.05))


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "warn"], "warn"),
        (["warn", "fail"], "fail"),
        (["pass", "insufficient_data"], "warn"),
        (["pass", "waived"], "pass"),
        (["waived", "insufficient_data"], "warn"),
        (["waived", "fail"], "fail"),
    ],
)
def test_a_gate_has_the_status_of_its_worst_row(statuses, expected):
    rows = [replace(ROW, status=status, slice=f"s{number}") for number, status in enumerate(statuses)]
    assert [gate.status for gate in _gates(*rows)] == [expected]


def test_a_gate_has_the_numbers_of_its_worst_row_and_the_four_fifths_row_speaks_first():
    far = replace(ROW, status="fail", ratio=0.2, low=0.1, high=0.3, reason="Far.")
    fifths = replace(far, against="extremes", ratio=0.3, low=0.25, high=0.35, reason="Four-fifths.")
    gate = _gates(ROW, far, fifths)[0]
    assert (gate.name, gate.measured, gate.limit) == ("bias:selection_rate:sex", 0.3, 0.8)
    assert gate.interval == (0.25, 0.35)
    assert gate.reason.startswith("sex: Four-fifths. 1 more comparison of Female: fail.")
    assert "waive it" in gate.reason


@pytest.mark.parametrize(
    ("row", "limit"),
    [
        (replace(ROW, status="fail", ratio=3.0, low=2.0, high=4.0), 1.25),
        (
            replace(ROW, status="fail", compare="difference", margin=0.1, ratio=-0.3, low=-0.4, high=-0.2),
            -0.1,
        ),
        (replace(ROW, status="fail", compare="error_ratio", margin=1.25, ratio=2.0, low=1.5, high=3.0), 1.25),
    ],
)
def test_the_limit_is_the_end_that_was_passed(row, limit):
    assert _gates(row)[0].limit == pytest.approx(limit)


def test_the_row_that_is_farthest_out_speaks():
    rows = [
        replace(ROW, status="fail", slice="near", ratio=0.7),
        replace(ROW, status="fail", slice="far", ratio=3.0, reason="Far out."),
        replace(ROW, status="fail", slice="middle", ratio=0.5),
    ]
    assert _gates(*rows)[0].reason.startswith("sex: Far out. 2 more comparisons of near, middle: fail.")
    nobody = replace(rows[0], ratio=0.0, reason="Nobody.")
    assert _gates(*rows, nobody)[0].reason.startswith("sex: Nobody.")


def test_blocking_measures_and_columns_have_gates_of_their_own_and_warnings_share_one():
    rows = [
        ROW,
        replace(ROW, column="race"),
        replace(ROW, metric="precision"),
        WARNING,
        replace(WARNING, metric="f1", status="warn", ratio=0.3),
        replace(WARNING, stage="pre", status="warn", ratio=0.2),
    ]
    gates = {gate.name: gate.status for gate in _gates(*rows)}
    assert gates == {
        "bias:selection_rate:sex": "pass",
        "bias:precision:sex": "pass",
        "bias:post:sex": "warn",
        "bias:pre:sex": "warn",
        "bias:selection_rate:race": "pass",
    }
    assert decide(_gates(*rows), "only_if_warn") == "needs_approval"


def test_insufficient_data_need_approval_and_never_pass():
    gates = _gates(ROW, LACKING)
    assert gates[0].status == "warn"
    assert gates[0].interval is None
    assert decide(gates, "only_if_warn") == "needs_approval"
    assert [gate.status for gate in _gates(replace(LACKING, family="warning"))] == ["warn"]


def test_a_tested_warning_row_that_straddles_does_not_warn():
    straddling = replace(WARNING, status="insufficient_data", adjusted_p=0.6, ratio=0.09)
    assert [gate.status for gate in _gates(WARNING, straddling)] == ["pass"]


def test_columns_that_inform_have_no_gate():
    assert _gates(replace(ROW, status="fail"), informs=["sex"]) == []
