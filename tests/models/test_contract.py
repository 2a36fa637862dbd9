"""The contract that a problem's models keep: which fields, of which types, within which limits."""

from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from cd4ml.adapters import problem_files
from cd4ml.features.plan import compile_plan
from cd4ml.models.contract import build_contract, known_values
from cd4ml.problem import Problem
from tests.models.bundles import SHOP, bundle, category, document, people, shop
from tests.models.test_rows import ROW


def contract_of(problem: Problem, known: Any = None) -> dict[str, Any]:
    return build_contract(problem, compile_plan(problem).inputs, known)


def fields_of(*changes: tuple[str, str]) -> dict[str, Any]:
    """Return the shop's fields after changes to the text of its problem."""
    text = SHOP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    found: dict[str, Any] = contract_of(problem_files.loads(text))["inputs"]["properties"]
    return found


@pytest.mark.parametrize("name", ["shop", "people"])
def test_its_schemas_are_valid_json_schema_and_hold_for_the_holdout(name: str) -> None:
    contract = document(bundle(name), "contract.json")
    Draft202012Validator.check_schema(contract["inputs"])
    Draft202012Validator.check_schema(contract["output"])
    validator = Draft202012Validator(contract["inputs"])
    from cd4ml.models.trial import replay_rows

    for row in replay_rows(bundle(name)):
        validator.validate(row)


def test_only_what_features_need_is_asked_for_and_never_the_target() -> None:
    assert set(fields_of()) == {"day", "store", "promoted", "price", "weather", "visitors", "opened"}


def test_a_general_validator_refuses_what_the_contract_refuses() -> None:
    validator = Draft202012Validator(document(bundle("shop"), "contract.json")["inputs"])
    assert validator.is_valid(ROW)
    for wrong in (
        {**ROW, "more": 1},
        {**ROW, "price": 21},
        {**ROW, "weather": "snow"},
        {**ROW, "store": None},
        {**ROW, "opened": "2020-05-20T08:00:00+02:00"},
        {key: value for key, value in ROW.items() if key != "day"},
    ):
        assert not validator.is_valid(wrong), wrong


def test_a_field_that_may_be_null_may_be_left_out() -> None:
    contract = contract_of(shop().problem)["inputs"]
    assert contract["required"] == ["day", "opened", "promoted", "store", "visitors"]
    assert contract["properties"]["price"]["type"] == ["number", "null"]


def test_bounds_of_the_calendar_are_about_the_past_and_left_out() -> None:
    assert "formatMaximum" not in fields_of()["day"]
    derived = fields_of(("derived: {", "derived: {at: day + hours(0), "), ("column: day,", "column: at,"))
    assert "formatMaximum" not in derived["day"]
    assert derived["opened"]["formatMinimum"] == "2019-01-01"


def test_a_last_day_of_a_time_lasts_until_its_end() -> None:
    fields = fields_of(('max: "2020-12-31 23:00:00"', 'max: "2020-12-31"'))
    assert fields["opened"]["formatMaximum"] == "2020-12-31T23:59:59"


def test_today_is_no_bound_of_what_will_be_asked() -> None:
    assert "formatMaximum" not in fields_of(('max: "2020-12-31 23:00:00"', "max: today"))["opened"]


def test_what_the_datas_contract_only_warns_of_is_taken() -> None:
    field = fields_of(
        ("visitors: {type: integer, min: 0,", "visitors: {type: integer, min: 0, severity: warn,")
    )
    assert "minimum" not in field["visitors"]
    assert field["visitors"]["nullable"]
    allowed = fields_of(("allowed: [sun, rain],", "allowed: [sun, rain], severity: warn,"))
    assert "enum" not in allowed["weather"]


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("{type: integer, allowed: [3, 1], known: ahead}", [1, 3]),
        ("{type: integer, allowed: [2.0], known: ahead}", [2]),
        ("{type: number, allowed: [1.5, 1], known: ahead}", [1.0, 1.5]),
        ("{type: boolean, allowed: [true], known: ahead}", [True]),
        ("{type: category, allowed: [2, b], known: ahead}", ["2", "b"]),
        ("{type: category, allowed: [b], nulls: true, known: ahead}", ["b", None]),
    ],
)
def test_allowed_values_are_listed_in_the_type_in_which_they_are_sent(
    declared: str, values: list[Any]
) -> None:
    kind = "category" if "category" in declared else "columns"
    changes = [("visitors: {type: integer, min: 0, known: ahead}", f"visitors: {declared}")]
    if kind == "category":
        changes += [
            ("price, visitors,", "price,"),
            ("columns: [store, weather]", "columns: [store, visitors]"),
        ]
    assert fields_of(*changes)["visitors"]["enum"] == values


def test_with_refuse_only_what_training_saw_is_taken() -> None:
    fields = contract_of(people().problem, {"plan": ["plus", "basic"], "note": []})["inputs"]["properties"]
    assert fields["plan"]["enum"] == ["basic", "plus"]
    assert fields["note"]["enum"] == [None]
    bucket = people().problem.model_copy(update={"serving": shop().problem.serving})
    assert "enum" not in contract_of(bucket, {"plan": ["plus"]})["inputs"]["properties"]["plan"]


def test_what_training_saw_is_still_held_against_the_allowed_values() -> None:
    problem = problem_files.loads(SHOP + "serving: {unknown: refuse}\n")
    fields = contract_of(problem, {"weather": ["sun", "hail"], "store": ["7"]})["inputs"]["properties"]
    assert fields["weather"]["enum"] == ["sun", None]
    assert fields["store"]["enum"] == ["7"]


def test_known_values_are_those_that_occur_of_texts_and_entities() -> None:
    columns = {
        "store": category(["b", "a", None, "z"]),
        "weather": category(["sun", None, "sun", "sun"]),
        "visitors": np.array([1, 2, 3, 4]),
    }
    inputs = {"store": "category", "weather": "category", "visitors": "integer"}
    assert known_values(shop().problem, inputs, columns) == {"store": ["a", "b", "z"], "weather": ["sun"]}
    numbered = shop().problem.model_copy(update={"entity": ["visitors"]})
    assert known_values(numbered, {"visitors": "integer"}, columns) == {"visitors": ["1", "2", "3", "4"]}


def test_the_output_says_its_limits() -> None:
    assert contract_of(shop().problem)["output"]["minimum"] == 0
    free = shop().problem.model_copy(
        update={"target": shop().problem.target.model_copy(update={"min": None})}
    )
    assert "minimum" not in contract_of(free)["output"]
    output = contract_of(people().problem)["output"]
    assert (output["minimum"], output["maximum"]) == (0, 1)
    assert output["description"] == "probability that stays is yes"
