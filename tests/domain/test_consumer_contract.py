"""Consumers' contracts: what may stand in them, and when one is broken."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.consumer_contract import (
    ConsumerCheck,
    ConsumerContract,
    Finding,
    Range,
    Reliance,
    Request,
    Tolerance,
    consumer_gates,
    judge_answers,
    judge_range,
    judge_times,
    judge_tries,
    unreadable,
)
from cd4ml.errors import ProblemError

ROW = Request({"hr": 8, "weather": None})


def check(consumer="planner", *statuses, owner="ann"):
    findings = tuple(Finding(f"rule{i}", s, 1.0, 0.0, f"fact {i}") for i, s in enumerate(statuses))
    return ConsumerCheck(consumer, owner, 3, ("hr",), findings)


@pytest.mark.parametrize(
    ("make", "path", "told"),
    [
        (lambda: Range(3, 2), ("min",), "min 3 is above max 2"),
        (lambda: Tolerance(absolute=-1), ("absolute",), "expected 0 or more; found -1"),
        (lambda: Tolerance(relative=-0.1), ("relative",), "found -0.1"),
        (lambda: Tolerance(share=0), ("share",), "above 0 and up to 1; found 0"),
        (lambda: Tolerance(share=1.1), ("share",), "found 1.1"),
        (lambda: Request({}), ("row",), "at least one field"),
        (lambda: Request({"a": [1]}), ("row", "a"), "found list"),
        (lambda: Request({"a": float("nan")}), ("row", "a"), "finite number; found nan"),
        (lambda: Reliance(max_latency_ms=0), ("max_latency_ms",), "above 0"),
        (lambda: Reliance(rows_per_request=0), ("rows_per_request",), "1 row or more; found 0"),
        (lambda: ConsumerContract("My Planner", "bike", "ann", (ROW,)), ("consumer",), "'My Planner'"),
        (lambda: ConsumerContract("a/b", "bike", "ann", (ROW,)), ("consumer",), "'a/b'"),
        (lambda: ConsumerContract("planner", "..", "ann", (ROW,)), ("problem",), "found '..'"),
        (lambda: ConsumerContract("planner", "bike", " ", (ROW,)), ("owner",), "whom to talk to"),
        (lambda: ConsumerContract("planner", "bike", "ann", ()), ("requests",), "at least one request"),
        (
            lambda: ConsumerContract("planner", "bike", "ann", (ROW,), Reliance(tolerance=Tolerance())),
            ("relies_on", "tolerance"),
            "needs recorded answers",
        ),
    ],
)
def test_what_can_never_hold_is_refused_with_its_key(make, path, told):
    with pytest.raises(ProblemError, match=told) as caught:
        make()
    assert caught.value.path == path


def test_a_contract_as_a_document_has_what_was_said_and_keeps_the_nulls_of_rows():
    relies = Reliance({"prediction": Range(0.0, None), "quantile": Range()}, rows_per_request=7)
    contract = ConsumerContract("planner", "bike", "ann", (ROW, Request({"day": ""}, "empty")), relies)
    assert contract.to_dict() == {
        "consumer": "planner",
        "problem": "bike",
        "owner": "ann",
        "relies_on": {"outputs": {"prediction": {"min": 0.0}, "quantile": {}}, "rows_per_request": 7},
        "requests": [{"row": {"hr": 8, "weather": None}}, {"row": {"day": ""}, "name": "empty"}],
    }
    assert contract.fields == ("day", "hr", "weather")


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (("pass", "pass"), "pass"),
        (("pass", "warn"), "warn"),
        (("warn", "fail", "pass"), "fail"),
        ((), "fail"),
    ],
)
def test_a_check_is_as_good_as_its_worst_finding_and_one_without_findings_fails(statuses, status):
    found = check("planner", *statuses)
    assert found.status == status == found.to_dict()["status"]


def test_what_is_not_answered_is_counted_and_the_first_three_are_told():
    found = judge_tries("requests", 9, [f"request {i}: no" for i in range(1, 6)], "requests")
    assert (found.status, found.measured) == ("fail", 5.0)
    assert found.detail.startswith("5 of 9 requests are not answered: request 1: no; ")
    assert found.detail.endswith("request 3: no (and 2 more)")
    assert judge_tries("requests", 9, [], "requests").status == "pass"


@pytest.mark.parametrize(
    ("values", "limits", "wrong"),
    [
        ([0.0, 5.0], Range(0, 5), 0),
        ([-0.1, 5.0, 6.0], Range(0, 5), 2),
        ([1e30, -1e30], Range(), 0),
        ([np.nan, 1.0], Range(), 1),
        ([np.inf, 1.0], Range(0, None), 1),
        ([np.float32(0.1)], Range(None, 0.1), 0),  # served as float32, which lies above 0.1
    ],
)
def test_an_output_is_finite_and_within_its_limits(values, limits, wrong):
    found = judge_range("prediction", np.array(values, float), limits, [f"request {i}" for i in (1, 2, 3)])
    assert (found.status, found.measured) == ("fail" if wrong else "pass", wrong)


def test_an_output_out_of_its_limits_is_told_with_the_request_and_both_limits():
    found = judge_range("prediction", np.array([1.0, 9.0]), Range(0, 5), ["request 1", "request 2"])
    assert found.detail == "prediction must be a finite number from 0 up to 5; request 2 gives 9"


@pytest.mark.parametrize(
    ("found", "tolerance", "status"),
    [
        ([100.0, 10.0], Tolerance(), "pass"),
        ([100.001, 10.0], Tolerance(), "fail"),
        ([109.0, 11.0], Tolerance(relative=0.1), "pass"),
        ([111.0, 10.0], Tolerance(relative=0.1), "fail"),
        ([111.0, 10.0], Tolerance(relative=0.1, share=0.5), "pass"),
        ([111.0, 20.0], Tolerance(relative=0.1, share=0.5), "fail"),
        ([95.0, 15.0], Tolerance(absolute=5), "pass"),
        ([105.0, 15.0], Tolerance(absolute=5, relative=0.01), "pass"),
        ([np.nan, 10.0], Tolerance(absolute=1e9), "fail"),
    ],
)
def test_enough_answers_must_be_near_the_recorded_ones(found, tolerance, status):
    judged = judge_answers(
        "prediction", np.array([100.0, 10.0]), np.array(found), tolerance, ["request 1", "request 2"]
    )
    assert judged.status == status
    assert judged.rule == "answers:prediction"


def test_the_farthest_answer_is_told():
    judged = judge_answers(
        "prediction", np.array([100.0, 10.0]), np.array([130.0, 90.0]), Tolerance(relative=0.1), ["a", "b"]
    )
    assert judged.detail.endswith("Farthest: b, 90 where 10 was recorded (allowed 1 apart)")


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
    st.floats(-100, 100),
    st.floats(0, 100),
    st.floats(0, 2),
)
@settings(deadline=None, max_examples=50)
def test_a_wider_tolerance_never_breaks_what_a_narrower_one_let_pass(recorded, moved, absolute, relative):
    now, names = np.array(recorded) + moved, ["r"] * len(recorded)
    arguments = ("prediction", np.array(recorded), now)
    narrow = judge_answers(*arguments, Tolerance(absolute, relative), names)
    wide = judge_answers(*arguments, Tolerance(absolute + 1, relative + 0.1), names)
    assert narrow.status == "fail" or wide.status == "pass"
    assert judge_answers(*arguments, Tolerance(abs(moved) + 1e-6), names).status == "pass"


def test_what_takes_too_long_or_was_never_timed_fails():
    assert judge_times(20.0, 20.0).status == "pass"
    assert judge_times(20.1, 20.0).status == "fail"
    assert judge_times(float("nan"), 20.0) == Finding(
        "latency", "fail", None, 20.0, "one row takes nan ms at p99; at most 20 ms are promised"
    )


def test_each_consumer_has_a_gate_and_a_broken_one_is_named_with_its_owner():
    broken, warned, well = check("zoo", "fail", "pass", "fail"), check("bar", "warn"), check("ant", "pass")
    gates = consumer_gates("bike", [broken, warned, well])
    assert [(gate.name, gate.status) for gate in gates] == [
        ("consumer:ant", "pass"),
        ("consumer:bar", "warn"),
        ("consumer:zoo", "fail"),
    ]
    assert "breaks consumer 'zoo' (owner: ann): fact 0; fact 2. Undo" in gates[2].reason
    assert gates[2].measured == 2.0
    assert "'bar' (owner: ann) may be affected: fact 0." in gates[1].reason


def test_without_consumers_the_gate_is_skipped_and_does_not_reject():
    (gate,) = consumer_gates("bike", [])
    assert (gate.name, gate.status, gate.required) == ("consumers", "skipped", False)


def test_a_contract_that_cannot_be_read_fails_with_the_name_of_its_consumer():
    (gate,) = consumer_gates("bike", [unreadable("planner", "it was cut off")])
    assert (gate.name, gate.status) == ("consumer:planner", "fail")
    assert "consumer 'planner': its contract cannot be read: it was cut off" in gate.reason
