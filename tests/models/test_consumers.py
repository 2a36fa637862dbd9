"""A bundle against what a consumer sends and relies on, and the contract that is drafted from one."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from cd4ml.domain.consumer_contract import (
    ConsumerCheck,
    ConsumerContract,
    Finding,
    Range,
    Reliance,
    Request,
    Tolerance,
)
from cd4ml.errors import UsageError
from cd4ml.models.consumers import check_consumer, draft_contract
from cd4ml.models.runtime import Bundle, holdout_rows
from tests.models.bundles import bundle


@cache
def loaded(name: str) -> Bundle:
    return Bundle.load(bundle(name))


@cache
def drafted(name: str) -> ConsumerContract:
    return draft_contract(bundle(name), "planner", "ann", requests=4, tolerance=Tolerance(relative=1e-5))


def with_row(contract: ConsumerContract, number: int, change: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a contract of which one request's row is changed."""
    row = dict(contract.requests[number].row)
    change(row)
    requests = list(contract.requests)
    requests[number] = replace(requests[number], row=row)
    return replace(contract, requests=tuple(requests))


def relying(name: str, **parts: Any) -> ConsumerContract:
    return replace(drafted(name), relies_on=replace(drafted(name).relies_on, **parts))


def finding(check: ConsumerCheck, rule: str) -> Finding:
    (found,) = [found for found in check.findings if found.rule == rule]
    return found


def asked(name: str, **parts: Any) -> ConsumerCheck:
    return check_consumer(loaded(name), relying(name, **parts))


@pytest.mark.parametrize("name", ["shop", "people"])
def test_a_drafted_contract_holds_for_the_bundle_that_it_was_drafted_from(name: str) -> None:
    check = check_consumer(loaded(name), drafted(name))
    assert check.status == "pass"
    assert check.requests == 4 == len(drafted(name).requests)
    assert check.fields == tuple(loaded(name).inputs)
    assert finding(check, "answers:prediction").detail.startswith("4 of 4 recorded answers of prediction")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda row: row.update(price=99),
            "request 3: field 'price' must be a number from 0.5 up to 20 or null; found 99",
        ),
        (lambda row: row.update(prize=1), "request 3: unknown field 'prize'; did you mean 'price'?"),
        (lambda row: row.pop("visitors"), "request 3: field 'visitors' must be a whole number from 0"),
        (lambda row: row.update(weather="snow"), "one of: rain, sun or null; found 'snow'"),
    ],
)
def test_a_request_that_is_refused_breaks_the_consumer_with_field_and_value(change: Any, told: str) -> None:
    found = finding(check_consumer(loaded("shop"), with_row(drafted("shop"), 2, change)), "requests")
    assert (found.status, found.measured) == ("fail", 1.0)
    assert found.detail.startswith("1 of 4 requests are not answered: ")
    assert told in found.detail


def test_a_request_is_told_by_its_name_and_the_others_are_still_looked_at() -> None:
    contract = relying("shop", outputs={"prediction": Range(max=1)})
    row = {**contract.requests[0].row, "visitors": -1}
    contract = replace(contract, requests=(Request(row, "a monday"), *contract.requests[1:]))
    check = check_consumer(loaded("shop"), contract)
    assert "request 1 (a monday): field 'visitors'" in finding(check, "requests").detail
    assert finding(check, "output:prediction").measured == 3.0
    assert "request 2 gives" in finding(check, "output:prediction").detail


def test_where_no_request_is_answered_there_is_nothing_else_to_say() -> None:
    check = check_consumer(
        loaded("shop"),
        ConsumerContract("planner", "corner-shop", "ann", (Request({"hr": 1}), Request({"hr": 2}))),
    )
    assert [found.rule for found in check.findings if found.status == "fail"] == ["requests"]
    assert {found.rule for found in check.findings} == {"requests", "rows_per_request"}


def test_a_contract_about_another_problem_is_broken() -> None:
    check = check_consumer(loaded("shop"), replace(drafted("shop"), problem="people"))
    assert finding(check, "problem").detail == "the contract is about 'people', the model about 'corner-shop'"


def test_an_output_that_is_not_there_is_named_with_those_that_are() -> None:
    found = finding(asked("people", outputs={"predicton": Range()}), "output:predicton")
    assert found.status == "fail"
    assert (
        found.detail == "the output 'predicton' is missing; there are prediction; did you mean 'prediction'?"
    )
    assert finding(asked("people", outputs={"quantile": Range()}), "output:quantile").status == "fail"
    assert finding(asked("shop", outputs={"quantile": Range(min=0)}), "output:quantile").status == "pass"


@pytest.mark.parametrize(
    ("name", "rule", "fields", "told"),
    [
        ("shop", "accepts_null", ("price", "weather"), ""),
        (
            "shop",
            "accepts_null",
            ("price", "visitors"),
            "request 1 with null 'visitors': field 'visitors' must",
        ),
        ("shop", "accepts_null", ("humidity",), "unknown field 'humidity'"),
        ("shop", "accepts_absent", ("price",), ""),
        ("shop", "accepts_absent", ("store",), "request 1 with no 'store': field 'store' must be a text"),
        ("shop", "accepts_unknown", ("store",), ""),
        ("shop", "accepts_unknown", ("weather",), "with an unknown 'weather': field 'weather' must be"),
        ("shop", "accepts_unknown", ("visitors",), "must be a whole number"),
        ("people", "accepts_unknown", ("plan",), "one of: basic, old, plus"),
    ],
)
def test_values_that_a_consumer_relies_on_are_tried(
    name: str, rule: str, fields: tuple[str, ...], told: str
) -> None:
    found = finding(asked(name, **{rule: fields}), rule)
    assert found.status == ("fail" if told else "pass")
    assert told in found.detail
    assert found.measured == float(bool(told))


def test_as_many_rows_as_the_consumer_sends_at_once_must_be_taken() -> None:
    assert finding(asked("people", rows_per_request=50), "rows_per_request").status == "pass"
    found = finding(asked("people", rows_per_request=51), "rows_per_request")
    assert found.status == "fail"
    assert found.detail == "it sends 51 rows in a request; at most 50 are taken"


def test_more_requests_than_a_request_may_have_rows_are_answered_in_parts() -> None:
    contract = draft_contract(
        bundle("people"), "planner", "ann", requests=80, tolerance=Tolerance(relative=1e-5)
    )
    assert len(contract.requests) == 80 > loaded("people").contract["max_rows"]
    assert check_consumer(loaded("people"), contract).status == "pass"


def test_answers_that_moved_further_than_the_tolerance_break_the_consumer() -> None:
    contract = drafted("shop")
    first = contract.requests[0]
    moved = replace(first, answer={**first.answer, "prediction": first.answer["prediction"] * 1.5})
    contract = replace(contract, requests=(moved, *contract.requests[1:]))
    check = check_consumer(loaded("shop"), contract)
    found = finding(check, "answers:prediction")
    assert (found.status, found.measured) == ("fail", 0.75)
    assert "Farthest: request 1" in found.detail
    assert finding(check, "answers:quantile").status == "pass"


def test_without_a_tolerance_answers_may_move() -> None:
    contract = relying("shop", tolerance=None)
    contract = replace(
        contract, requests=tuple(replace(r, answer={"prediction": 1e6}) for r in contract.requests)
    )
    assert check_consumer(loaded("shop"), contract).status == "pass"


def test_an_answer_of_an_output_that_is_gone_breaks_the_consumer() -> None:
    requests = tuple(replace(r, answer={"quantile": 1.0}) for r in drafted("people").requests)
    check = check_consumer(loaded("people"), replace(drafted("people"), requests=requests))
    found = finding(check, "answers:quantile")
    assert (found.status, found.detail) == ("fail", "answers of 'quantile' were recorded and are missing now")


def test_answers_of_before_the_history_are_not_compared_and_warn() -> None:
    contract = with_row(drafted("shop"), 0, lambda row: row.update(day="2020-03-20"))
    old = replace(contract, requests=contract.requests[:1])
    for contract_now, share in ((contract, "1 of 4"), (old, "1 of 1")):
        check = check_consumer(loaded("shop"), contract_now)
        assert check.status == "warn"
        found = finding(check, "recorded:prediction")
        assert found.detail.startswith(f"{share} recorded answers of prediction are from before the history")
    assert not [found for found in check.findings if found.rule == "answers:prediction"]


@pytest.mark.parametrize(("day", "status"), [("2020-04-30", "pass"), ("2020-04-29", "warn")])
def test_the_first_day_that_has_its_whole_history_is_compared(day: str, status: str) -> None:
    """The bundle keeps the 40 days up to 2020-06-08 and what features of the first of them need."""
    row = {**drafted("shop").requests[0].row, "day": day}
    answer = {"prediction": float(loaded("shop").predict_rows([row])["prediction"][0])}
    contract = replace(drafted("shop"), requests=(Request(row, answer=answer),))
    assert check_consumer(loaded("shop"), contract).status == status


def test_every_holdout_row_of_a_bundle_has_its_history() -> None:
    rows = sorted(holdout_rows(bundle("shop")), key=lambda row: row["day"])
    answers = loaded("shop").predict_rows(rows[:3])["prediction"]
    requests = tuple(Request(r, answer={"prediction": float(a)}) for r, a in zip(rows, answers, strict=False))
    contract = ConsumerContract(
        "planner", "corner-shop", "ann", requests, Reliance(tolerance=Tolerance(relative=1e-6))
    )
    assert check_consumer(loaded("shop"), contract).status == "pass"


@pytest.mark.parametrize(("limit_ms", "status"), [(10.5, "pass"), (9.5, "fail")])
def test_a_slow_bundle_breaks_a_consumer_that_waits_no_longer(limit_ms: float, status: str) -> None:
    ticks = itertools.count()
    contract = relying("people", max_latency_ms=limit_ms)
    check = check_consumer(loaded("people"), contract, clock=lambda: next(ticks) * 0.01)
    found = finding(check, "latency")
    assert (found.status, found.measured) == (status, pytest.approx(10))


class Broken:
    """A model whose export lost its way."""

    def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
        return [np.full(len(inputs["features"]), np.inf, dtype=np.float32)]


def test_an_answer_that_is_not_finite_is_none() -> None:
    check = check_consumer(replace(loaded("people"), _session=Broken()), drafted("people"))
    assert "request 1: the prediction is not finite" in finding(check, "requests").detail


def test_a_draft_has_the_lowest_and_the_highest_answer_and_the_newest_rows_of_a_forecast() -> None:
    contract = drafted("shop")
    answers = [request.answer["prediction"] for request in contract.requests]
    assert answers == sorted(answers) and len(set(answers)) == 4
    days = sorted({row["day"] for row in holdout_rows(bundle("shop"))})
    newest = days[-len(days) // 4 :]
    assert {request.row["day"] for request in contract.requests} <= set(newest)
    rows = [row for row in holdout_rows(bundle("shop")) if row["day"] in newest]
    found = loaded("shop").predict_rows(rows)["prediction"]
    assert answers[-1] == pytest.approx(found.max(), rel=1e-5)
    assert contract.relies_on.outputs == {"prediction": Range(0, None), "quantile": Range(0, None)}
    assert drafted("people").relies_on.outputs == {"prediction": Range(0, 1)}


def test_a_draft_of_more_requests_than_the_newest_quarter_has_takes_older_ones() -> None:
    count = len(holdout_rows(bundle("shop")))
    assert len(draft_contract(bundle("shop"), "planner", "ann", requests=count + 5).requests) == count
    with pytest.raises(UsageError, match="at least 1 request; found 0"):
        draft_contract(bundle("shop"), "planner", "ann", requests=0)
