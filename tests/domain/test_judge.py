"""Gates answer with their evidence, and the verdict is what they bear."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.bootstrap import Interval
from cd4ml.domain.judge import (
    Gate,
    Verdict,
    baseline_gate,
    contract_gate,
    decide,
    io_contract_gate,
    judge,
    latency_gate,
    parity_gate,
    runtime_gate,
    skipped_gate,
    threshold_gate,
)
from cd4ml.errors import DataError, UsageError


def _gate(status="pass", name="g", required=True):
    return Gate(name, status, 1.0, 2.0, (0.5, 1.5), "one is below two.", "model", required)


def test_a_contract_passes_when_every_row_is_accounted_for():
    gate = contract_gate(100, 90, 2, 8, [], 0.05)
    assert (gate.status, gate.measured, gate.limit, gate.axis) == ("pass", 0.02, 0.05, "data")


@pytest.mark.parametrize(
    ("counts", "rules", "reason"),
    [
        ((100, 90, 2, 7), [], "that leaves 1 unaccounted for"),
        ((100, 90, 2, 9), [], "that leaves -1 unaccounted for"),
        ((100, 90, 12, -2), [], "that leaves 0 unaccounted for"),
        ((100, 90, 10, 0), [], "10.000% quarantined, limit 5.000%"),
        ((100, 98, 2, 0), ["unique key"], "refused by unique key"),
        ((100, 0, 2, 98), [], "nothing is left to learn from"),
        ((0, 0, 0, 0), [], "nothing is left to learn from"),
    ],
)
def test_a_contract_fails_with_what_is_wrong(counts, rules, reason):
    gate = contract_gate(*counts, rules, 0.05)
    assert gate.status == "fail"
    assert reason in gate.reason


def test_a_baseline_is_beaten_only_by_the_low_end():
    beaten = baseline_gate("naive", "wape", Interval(0.1, 0.03, 0.2), 0.02)
    unsure = baseline_gate("naive", "wape", Interval(0.1, 0.02, 0.2), 0.02)
    worse = baseline_gate("naive", "wape", Interval(-0.1, -0.2, 0.0), 0.02)
    assert [gate.status for gate in (beaten, unsure, worse)] == ["pass", "fail", "fail"]
    assert beaten.name == "baseline:naive:wape"
    assert "10.00% better than naive (+3.00% to +20.00%); its low end must be above 2.00%" in beaten.reason
    assert "score on more data" in unsure.reason
    assert "improve the model" in worse.reason


def test_too_few_clusters_never_pass_a_gate_on_an_interval():
    for gate in (
        baseline_gate("naive", "wape", Interval(0.9), 0.0),
        threshold_gate("wape", Interval(0.1), 0.5, higher_is_better=False),
    ):
        assert gate.status == "fail"
        assert gate.interval is None
        assert "too few clusters" in gate.reason


@pytest.mark.parametrize(
    ("higher", "limit", "on", "status"),
    [
        (True, 0.6, "interval", "pass"),
        (True, 0.61, "interval", "fail"),
        (True, 0.7, "estimate", "pass"),
        (True, 0.71, "estimate", "fail"),
        (False, 0.9, "interval", "pass"),
        (False, 0.89, "interval", "fail"),
        (False, 0.7, "estimate", "pass"),
        (False, 0.69, "estimate", "fail"),
    ],
)
def test_a_threshold_reads_the_worse_end_or_the_estimate(higher, limit, on, status):
    gate = threshold_gate("m", Interval(0.7, 0.6, 0.9), limit, higher, on)
    assert gate.status == status
    assert f"{limit:.4g}" in gate.reason
    assert ("at least" if higher else "at most") in gate.reason


def test_a_threshold_on_the_estimate_needs_no_interval():
    gate = threshold_gate("m", Interval(0.7), 0.6, higher_is_better=True, on="estimate")
    assert gate.status == "pass"


@pytest.mark.parametrize(
    ("found", "rows", "status"),
    [
        ((1e-3, 1e-6), 10, "pass"),
        ((1.0, 1e-6), 10, "pass"),
        ((1e-3, 1e-3), 10, "fail"),
        ((math.nan, 0.0), 10, "fail"),
        ((math.inf, 0.0), 10, "fail"),
        ((-1.0, -1.0), 10, "fail"),
        ((0.0, 0.0), 0, "fail"),
    ],
)
def test_parity_needs_rows_that_agree_relative_to_their_size(found, rows, status):
    gate = parity_gate(*found, rows, 1e-5, "onnx")
    assert gate.status == status
    assert gate.name == "parity:onnx"
    json.dumps(gate.to_dict(), allow_nan=False)


def test_other_versions_warn_and_other_predictions_fail():
    same = runtime_gate(True, {"onnxruntime": "1.31"}, {"onnxruntime": "1.31"})
    other = runtime_gate(True, {"onnxruntime": "1.31"}, {"onnxruntime": "1.32", "numpy": "2.4"})
    wrong = runtime_gate(False, {}, {}, "3 of 100 rows")
    assert [gate.status for gate in (same, other, wrong)] == ["pass", "warn", "fail"]
    assert "numpy absent -> 2.4, onnxruntime 1.31 -> 1.32" in other.reason
    assert "3 of 100 rows" in wrong.reason


def test_latency_is_judged_at_its_99th_percentile():
    assert latency_gate(1.0, 20.0, 20.0).status == "pass"
    assert latency_gate(1.0, 20.1, 20.0).status == "fail"
    assert latency_gate(math.nan, math.nan, 20.0).status == "fail"


def test_a_broken_io_contract_fails_and_shows_the_first_three():
    gate = io_contract_gate(["a", "b", "c", "d"])
    assert (gate.status, gate.measured) == ("fail", 4.0)
    assert "a; b; c and 1 more" in gate.reason
    assert io_contract_gate([]).status == "pass"


def test_a_gate_is_skipped_with_a_reason_only():
    assert skipped_gate("champion", "model", "there is no champion yet.").required is False
    with pytest.raises(UsageError, match="without a reason"):
        skipped_gate("champion", "model", "")


def test_a_gate_refuses_what_cannot_be_written():
    with pytest.raises(DataError, match="finite"):
        Gate("g", "pass", math.nan, None, None, "", "data")
    with pytest.raises(DataError, match="status 'ok'"):
        Gate("g", "ok", 1.0, None, None, "", "data")


@pytest.mark.parametrize(
    ("gates", "decision"),
    [
        ([], "reject"),
        ([_gate()], "accept"),
        ([_gate(), _gate("warn")], "accept"),
        ([_gate(), _gate("fail")], "reject"),
        ([_gate(), _gate("fail", required=False)], "reject"),
        ([_gate(), _gate("skipped")], "reject"),
        ([_gate(), _gate("skipped", required=False)], "accept"),
    ],
)
def test_the_decision_follows_the_worst_gate(gates, decision):
    assert decide(gates, approval_required=False) == decision
    waiting = "reject" if decision == "reject" else "needs_approval"
    assert decide(gates, approval_required=True) == waiting


STATUSES = st.sampled_from(["pass", "fail", "warn", "skipped"])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(STATUSES, st.booleans(), st.sampled_from(["data", "model", "code"])), max_size=6),
    st.booleans(),
)
def test_a_verdict_survives_json_and_accepts_nothing_that_failed(rows, approval):
    gates = [Gate(f"g{i}", s, 0.1 * i, None, None, "r", axis, req) for i, (s, req, axis) in enumerate(rows)]
    verdict = judge(gates, "bike-demand", {"bundle": "ab"}, ["data"], approval)
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict(), allow_nan=False))) == verdict
    assert verdict.decision == "reject" or all(gate.status != "fail" for gate in verdict.gates)
    assert [gate.axis for gate in verdict.gates] == sorted(
        (gate.axis for gate in gates), key=["data", "model", "code"].index
    )


def _verdict():
    return judge([_gate(name="a|b")], "bike", {"model": "ff", "bundle": "ab"}, ["model", "code"])


def test_a_verdict_has_the_keys_that_others_read():
    found = _verdict().to_dict()
    assert list(found) == ["decision", "gates", "model", "subject", "changed"]
    assert {"name", "status", "measured", "limit", "interval", "reason"} <= set(found["gates"][0])
    assert found["changed"] == ["code", "model"]


def test_markdown_shows_the_decision_and_every_gate_in_one_row():
    page = _verdict().to_markdown()
    assert page.startswith("# bike: accept\n")
    assert "- bundle: `ab`\n- model: `ff`" in page
    assert "| a\\|b | pass | 1 | 2 | one is below two. |" in page
    assert "## Data" not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision": "maybe"}, "found 'maybe'"),
        ({"gates": []}, "at odds with its gates: no gate was answered"),
        ({"gates": [_gate("fail").to_dict()]}, "the decision 'accept' is at odds with its gates: g"),
        ({"gates": [_gate().to_dict()] * 2}, "found twice: g"),
        ({"gates": [{"name": "g"}]}, "it lacks 'interval'"),
        ({"gates": None}, "this is no verdict"),
    ],
)
def test_a_verdict_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        Verdict.from_dict({**_verdict().to_dict(), **change})


def test_the_subject_of_a_verdict_cannot_be_changed_afterwards():
    with pytest.raises(TypeError):
        _verdict().subject["bundle"] = "other"


def test_only_code_data_and_model_can_have_changed():
    with pytest.raises(UsageError, match="found weather"):
        judge([_gate()], "bike", {}, ["weather"])
