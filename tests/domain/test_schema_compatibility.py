"""A challenger's serving contract against the champion's."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.consumer_contract import ConsumerCheck, Finding
from cd4ml.domain.schema_compatibility import schema_changes, schema_gates, unanswered_schema_gates
from cd4ml.errors import DataError
from cd4ml.models.rows import columns_from_rows


def field(kind="number", nullable=False, **rules):
    return {"kind": kind, "nullable": nullable, **rules}


def contract(fields=None, **parts):
    fields = {"hr": field("integer", minimum=0, maximum=23)} if fields is None else fields
    return {
        "task": "regression",
        "inputs": {"properties": fields},
        "output": {"name": "prediction", "description": "cnt", "minimum": 0},
        "quantile": None,
        "decision": None,
        "unknown": "bucket",
        "max_rows": 100,
    } | parts


def changed(old, new, **more):
    return schema_changes(contract({"a": old}), contract({"a": new}), **more)


def check(consumer, status, *fields):
    return ConsumerCheck(consumer, "ann", 1, fields, (Finding("requests", status, None, None, "told"),))


def test_equal_contracts_do_not_differ_and_pass_both_ways():
    assert schema_changes(contract(), contract()) == ()
    assert [gate.status for gate in schema_gates((), [])] == ["pass", "pass"]


@pytest.mark.parametrize(
    ("old", "new", "change", "backward", "forward"),
    [
        (field("integer"), field("number"), "type", True, False),
        (field("number"), field("integer"), "type", False, True),
        (field("date"), field("timestamp"), "type", True, False),
        (field("text"), field("category"), "type", True, True),
        (field("text"), field("number"), "type", False, False),
        (field("boolean"), field("integer"), "type", False, False),
        (field(), field(nullable=True), "nulls", True, False),
        (field(nullable=True), field(), "nulls", False, True),
        (field(minimum=0), field(minimum=1), "min", False, True),
        (field(minimum=1), field(minimum=0), "min", True, False),
        (field(), field(minimum=1), "min", False, True),
        (field(maximum=9), field(maximum=8), "max", False, True),
        (field(maximum=9), field(), "max", True, False),
        (
            field("date", formatMinimum="2020-01-01"),
            field("date", formatMinimum="2020-02-01"),
            "min",
            False,
            True,
        ),
        (
            field("timestamp", formatMaximum="2020-01-01T23:59:59"),
            field("timestamp", formatMaximum="2020-01-02 00:00:00"),
            "max",
            True,
            False,
        ),
        (field("category", enum=["a", "b"]), field("category", enum=["a"]), "allowed", False, True),
        (field("category", enum=["a"]), field("category", enum=["a", "b"]), "allowed", True, False),
        (field("category", enum=["a", "b"]), field("category", enum=["b", "c"]), "allowed", False, False),
        (field("category"), field("category", enum=["a"]), "allowed", False, True),
        (field("category", enum=["a"]), field("category"), "allowed", True, False),
        (field("boolean"), field("boolean", enum=[False, True]), "allowed", True, True),
        (field("boolean"), field("boolean", enum=[True]), "allowed", False, True),
    ],
)
def test_one_change_of_an_input_and_whom_it_breaks(old, new, change, backward, forward):
    (found,) = changed(old, new)
    assert (found.part, found.field, found.change) == ("input", "a", change)
    assert (found.backward, found.forward) == (backward, forward)
    assert "'a'" in found.detail


def test_times_that_are_written_in_another_way_are_the_same():
    old = field("timestamp", formatMinimum="2019-01-01")
    assert changed(old, field("timestamp", formatMinimum="2019-01-01 00:00:00")) == ()


def test_a_range_and_a_list_that_take_the_same_values_break_nobody():
    ranged, listed = field("integer", minimum=1, maximum=3), field("integer", enum=[1, 2, 3])
    for pair in ((ranged, listed), (listed, ranged)):
        assert all(change.backward and change.forward for change in changed(*pair))


@pytest.mark.parametrize(
    ("nullable", "backward"), [(False, False), (True, True)], ids=["required", "may be left out"]
)
def test_a_new_input_breaks_old_callers_if_it_is_required(nullable, backward):
    (found,) = schema_changes(contract({}), contract({"a": field(nullable=nullable)}))
    assert (found.change, found.backward, found.forward) == ("added", backward, False)


@pytest.mark.parametrize(("nullable", "forward"), [(False, False), (True, True)])
def test_a_removed_input_breaks_those_who_send_it(nullable, forward):
    (found,) = schema_changes(contract({"a": field(nullable=nullable)}), contract({}))
    assert (found.change, found.backward, found.forward) == ("removed", False, forward)


@pytest.mark.parametrize(
    ("old", "new", "change", "backward", "forward"),
    [
        ({"task": "regression"}, {"task": "classification"}, "task", False, False),
        ({"output": {"name": "prediction"}}, {"output": {"name": "score"}}, "name", False, False),
        (
            {"output": {"name": "p", "description": "units"}},
            {"output": {"name": "p", "description": "turnover"}},
            "meaning",
            False,
            False,
        ),
        ({}, {"output": {"name": "prediction", "description": "cnt"}}, "min", False, True),
        ({"output": {"name": "prediction", "description": "cnt"}}, {}, "min", True, False),
        (
            {"output": {"name": "p", "maximum": 1}},
            {"output": {"name": "p", "maximum": 2}},
            "max",
            False,
            True,
        ),
        ({"quantile": 0.9}, {}, "removed", False, True),
        ({}, {"quantile": 0.9}, "added", True, False),
        ({"quantile": 0.9}, {"quantile": 0.8}, "level", False, False),
        ({"decision": {"name": "decision"}}, {}, "removed", False, True),
        ({}, {"decision": {"name": "decision"}}, "added", True, False),
        ({"max_rows": 100}, {"max_rows": 10}, "max_rows", False, True),
        ({"max_rows": 10}, {"max_rows": 100}, "max_rows", True, False),
    ],
)
def test_one_change_of_what_comes_back_and_whom_it_breaks(old, new, change, backward, forward):
    (found,) = schema_changes(contract(**old), contract(**new))
    assert (found.change, found.backward, found.forward) == (change, backward, forward)


def test_a_contract_of_before_decisions_has_none():
    old = contract()
    del old["decision"]
    assert schema_changes(old, contract()) == ()


@pytest.mark.parametrize(
    ("policies", "declared", "learnt"),
    [
        (("refuse", "refuse"), {"a": None}, True),
        (("refuse", "refuse"), {"a": ["x", "y"]}, True),
        (("refuse", "refuse"), {"a": ["x"]}, False),
        (("refuse", "refuse"), None, False),
        (("bucket", "refuse"), {"a": None}, False),
    ],
)
def test_a_value_that_training_saw_no_more_was_not_taken_away_by_a_rule(policies, declared, learnt):
    fields = {"a": field("category", enum=["x", "y"])}, {"a": field("category", enum=["x"])}
    pair = [contract(f, unknown=p) for f, p in zip(fields, policies, strict=True)]
    (found,) = schema_changes(*pair, declared)
    assert (found.backward, found.learnt) == (False, learnt)
    backward = schema_gates([found], [check("zoo", "pass", "a")] if not learnt else [])[0]
    assert backward.status == "warn"
    assert schema_gates([found], [])[0].status == ("warn" if learnt else "fail")
    assert schema_gates([found], [check("zoo", "fail", "a")])[0].status == "fail"


REQUIRED = schema_changes(contract({}), contract({"a": field()}))


def test_a_breaking_change_fails_with_the_names_of_the_consumers_it_breaks():
    checks = [check("zoo", "fail", "b"), check("ant", "pass", "a"), check("bee", "fail", "b")]
    backward = schema_gates(REQUIRED, checks)[0]
    assert (backward.name, backward.status, backward.measured) == ("schema:backward", "fail", 1.0)
    assert backward.reason.startswith("breaks bee, zoo: input 'a' is new and required (sent by ant)")


def test_a_breaking_change_fails_where_no_consumer_can_be_asked():
    backward = schema_gates(REQUIRED, [])[0]
    assert backward.status == "fail"
    assert "breaks callers of the champion: input 'a' is new and required" in backward.reason


def test_a_breaking_change_of_inputs_warns_where_every_consumer_is_ready_for_it():
    backward = schema_gates(REQUIRED, [check("ant", "pass", "a"), check("bee", "warn", "a")])[0]
    assert backward.status == "warn"
    assert "All 2 consumers with a contract" in backward.reason


def test_another_meaning_fails_whatever_the_consumers_say():
    changes = schema_changes(contract(), contract(task="classification"))
    backward = schema_gates(changes, [check("ant", "pass", "a")])[0]
    assert backward.status == "fail"
    assert "new problem name" in backward.reason


def test_what_the_champion_cannot_answer_only_warns():
    changes = schema_changes(contract({}), contract({name: field(nullable=True) for name in "abcde"}))
    backward, forward = schema_gates(changes, [])
    assert (backward.status, forward.status, forward.measured) == ("pass", "warn", 5.0)
    assert "canary, rollback" in forward.reason and "(and 2 more)" in forward.reason


def test_without_a_champion_the_gates_are_skipped_and_with_an_unreadable_one_they_fail():
    skipped = unanswered_schema_gates("this is the first release", unreadable=False)
    failed = unanswered_schema_gates("it was cut off", unreadable=True)
    assert [(gate.status, gate.required) for gate in skipped] == [("skipped", False)] * 2
    assert [gate.status for gate in failed] == ["fail"] * 2
    assert {gate.name for gate in failed} == {"schema:backward", "schema:forward"}
    assert "cannot be read: it was cut off" in failed[0].reason


# What the changes say of callers is what the server's own check of rows does.
WHOLE = st.integers(-3, 6)
RULES = st.fixed_dictionaries({}, optional={"minimum": WHOLE, "maximum": WHOLE})
NUMERIC = st.builds(
    lambda kind, nullable, rules, enum: field(kind, nullable, **rules, **enum),
    st.sampled_from(["integer", "number"]),
    st.booleans(),
    RULES,
    st.one_of(st.just({}), st.lists(WHOLE, min_size=1).map(lambda values: {"enum": values})),
)
NAMED = st.builds(
    lambda kind, nullable, enum: field(kind, nullable, **enum),
    st.sampled_from(["category", "text"]),
    st.booleans(),
    st.one_of(st.just({}), st.lists(st.sampled_from("xyz"), min_size=1).map(lambda found: {"enum": found})),
)
FLAG = st.builds(lambda nullable: field("boolean", nullable), st.booleans())
FIELDS = st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(NUMERIC, NAMED, FLAG))
VALUES: list[Any] = [*range(-4, 8), 0.5, 2.5, "x", "z", "other", True, None]


def takes(parts: dict[str, Any], row: dict[str, Any]) -> bool:
    try:
        columns_from_rows(contract(parts), [row])
    except DataError:
        return False
    return True


@st.composite
def pairs(draw):
    """Two sets of fields that have much in common."""
    old, other = draw(FIELDS), draw(FIELDS)
    kept = {name: draw(st.sampled_from([rules, {**rules, "nullable": True}])) for name, rules in old.items()}
    for name, rules in kept.items():
        gone = draw(st.sampled_from([*(set(rules) & {"minimum", "maximum", "enum"}), "nothing"]))
        kept[name] = {key: value for key, value in rules.items() if key != gone}
    return draw(st.sampled_from([(old, kept), (kept, old), (old, other)]))


@given(pairs())
@settings(deadline=None, max_examples=50)
def test_where_no_change_is_breaking_the_one_takes_every_row_that_the_other_took(pair):
    old, new = pair
    changes = schema_changes(contract(old), contract(new))
    rows: list[dict[str, Any]] = [{}, *({"a": value} for value in VALUES), *({"b": v} for v in VALUES)]
    rows += [{"a": first, "b": second} for first in VALUES for second in VALUES]
    if all(change.backward for change in changes):
        assert all(takes(new, row) for row in rows if takes(old, row))
    if all(change.forward for change in changes):
        assert all(takes(old, row) for row in rows if takes(new, row))
