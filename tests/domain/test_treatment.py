"""Groups, curves and thresholds: every row is treated, the same way wherever its group is told."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.treatment import Curve, Groups, Treatment, decide, from_scale, to_scale
from cd4ml.errors import DataError, UsageError


@dataclass(frozen=True)
class Column:
    codes: Any
    categories: tuple[str, ...]


def column(values: list[str | None], categories: tuple[str, ...] | None = None) -> Column:
    known = categories or tuple(sorted({value for value in values if value is not None}))
    return Column(np.array([-1 if v is None else known.index(v) for v in values], dtype=np.int32), known)


SEX = ["F", "F", "M", "M", "F", None, "X"]
RACE = ["a", "b", "a", "b", "c", "a", "a"]
COLUMNS = {"sex": column(SEX), "race": column(RACE)}
GROUPS = Groups(("sex", "race"), (("F", "a"), ("F", "b"), ("M", "a"), (None, "c")))


def test_a_row_is_in_the_group_of_its_values_and_else_in_the_last() -> None:
    names = [GROUPS.names[group] for group in GROUPS.of(COLUMNS)]
    others = "all others"
    assert names == ["F x a", "F x b", "M x a", others, "any sex x c", others, others]
    assert (GROUPS.count, GROUPS.label) == (5, "sex x race")


def test_a_group_with_more_values_by_name_goes_before_one_of_any_value() -> None:
    groups = Groups(("sex", "race"), ((None, "a"), ("F", "a"), ("M", None)))
    names = [groups.names[group] for group in groups.of(COLUMNS)]
    assert names[:4] == ["F x a", "all others", "any sex x a", "M x any race"]
    assert names[5] == "any sex x a"


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_the_order_of_categories_does_not_matter(data: st.DataObject) -> None:
    shuffled = {
        name: column(values, tuple(data.draw(st.permutations([*{v for v in values if v is not None}, "z"]))))
        for name, values in (("sex", SEX), ("race", RACE))
    }
    assert GROUPS.of(shuffled).tolist() == GROUPS.of(COLUMNS).tolist()


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("FM?"), st.sampled_from("abcd")), min_size=1, max_size=60),
    st.integers(1, 9),
    st.booleans(),
)
def test_found_groups_have_enough_rows_and_no_group_is_missed(
    rows: list[tuple[str, str]], least: int, turned: bool
) -> None:
    columns = {
        "sex": column([None if s == "?" else s for s, _ in rows], ("F", "M")),
        "race": column([r for _, r in rows], ("a", "b", "c", "d")),
    }
    if turned:
        columns = dict(reversed(columns.items()))
    found = Groups.found(columns, np.arange(len(rows)), least)
    codes = found.of(columns)
    assert (np.bincount(codes, minlength=found.count)[:-1] >= least).all()
    others = [row for row, code in zip(rows, codes, strict=True) if code == found.count - 1]
    for at in (0, 1):
        known = [row[at] for row in others if row[at] != "?"]
        assert all(known.count(value) < least for value in known)
    common = [row for row in rows if rows.count(row) >= least and row[0] != "?"]
    assert all((row[::-1] if turned else row) in found.cells for row in common)


def test_rare_combinations_are_joined_over_the_column_of_fewest_values() -> None:
    rows = [("F", "a")] * 9 + [("M", "a")] * 9 + [("F", "b")] * 3 + [("M", "b")] * 3 + [("F", "c")]
    columns = {"sex": column([s for s, _ in rows]), "race": column([r for _, r in rows])}
    assert Groups.found(columns, np.arange(len(rows)), 5).names == (
        "F x a",
        "M x a",
        "any sex x b",
        "all others",
    )


def test_only_the_given_rows_are_counted() -> None:
    columns = {"sex": column(["F", "F", "F", "M", "M"])}
    assert Groups.found(columns, np.array([0, 3, 4]), 2).cells == (("M",),)


@pytest.mark.parametrize(
    ("columns", "cells", "said"),
    [
        ((), (), "at least one column"),
        (("sex",), (("F", "a"),), "one value of each of sex"),
        (("sex",), (("F",), ("F",)), "twice"),
    ],
)
def test_groups_that_cannot_be_are_refused(columns: Any, cells: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Groups(columns, cells)


def thresholds() -> Treatment:
    return Treatment("group_thresholds", GROUPS, thresholds=(0.2, 0.9, 0.5, 0.4, 0.7))


def test_each_group_is_called_positive_from_its_own_threshold_on() -> None:
    groups = np.array([0, 0, 1, 1, 4])
    found = thresholds().decide(np.array([0.2, 0.19, 0.89, 0.9, 0.7]), groups)
    assert found.tolist() == [1, 0, 0, 1, 1]
    assert decide(np.array([0.49, 0.5])).tolist() == [0, 1]
    plain = Treatment("reweighing", GROUPS, fit_weights=((1.0, 2.0),) * 5)
    assert plain.decide(np.array([0.49, 0.5]), np.array([0, 1])).tolist() == [0, 1]
    assert not plain.needs_groups
    assert thresholds().needs_groups


def test_each_group_has_its_own_curve_and_the_minimum_holds() -> None:
    curves = (Curve(slope=2.0, intercept=-5.0), *(Curve(),) * 3, Curve(x=(1.0, 3.0), y=(0.0, 10.0)))
    treatment = Treatment("recalibration", GROUPS, curves=curves, minimum=0.0)
    found = treatment.recalibrate(np.array([1.0, 4.0, 4.0, 2.0, 99.0]), np.array([0, 0, 1, 4, 4]))
    assert found.tolist() == [0.0, 3.0, 4.0, 5.0, 10.0]
    assert thresholds().recalibrate(np.array([0.3]), np.array([0])).tolist() == [0.3]


def test_weights_of_a_fit_are_by_group_or_by_group_and_label() -> None:
    groups, y = np.array([0, 0, 1]), np.array([0.0, 1.0, 1.0])
    by_label = Treatment("reweighing", GROUPS, fit_weights=((1.0, 2.0), (3.0, 4.0), *((1.0, 1.0),) * 3))
    by_group = Treatment("bounded_group_loss", GROUPS, fit_weights=((1.0,), (3.0,), *((1.0,),) * 3))
    assert by_label.factors(groups, y).tolist() == [1, 2, 4]
    assert by_group.factors(groups, y).tolist() == [1, 1, 3]
    assert thresholds().factors(groups, y).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "treatment",
    [
        thresholds(),
        Treatment("recalibration", GROUPS, curves=(Curve(slope=0.5, scale="logit"),) * 5, minimum=1.5),
        Treatment("recalibration", GROUPS, curves=(Curve(x=(0.1, 0.2), y=(0.3, 0.3)),) * 5),
        Treatment("bounded_group_loss", GROUPS, fit_weights=((1.25,),) * 5),
    ],
)
def test_json_gives_the_same_treatment(treatment: Treatment) -> None:
    assert Treatment.from_dict(json.loads(json.dumps(treatment.to_dict()))) == treatment


@pytest.mark.parametrize(
    "spoil",
    [
        {"kind": "magic"},
        {"thresholds": [0.5]},
        {"groups": [["F"]]},
        {"columns": 3},
        {"thresholds": ["much"] * 5},
    ],
)
def test_a_spoilt_treatment_is_refused(spoil: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Treatment.from_dict(thresholds().to_dict() | spoil)
    with pytest.raises(DataError, match="curves"):
        Treatment.from_dict({})


@pytest.mark.parametrize(
    "spoilt",
    [
        {"x": (1.0, 1.0), "y": (0.0, 1.0)},
        {"x": (1.0, 2.0), "y": (1.0, 0.0)},
        {"x": (1.0,), "y": ()},
        {"slope": -1.0},
        {"intercept": float("nan")},
        {"scale": "cube"},
    ],
)
def test_curves_that_turn_the_ranking_round_are_refused(spoilt: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Curve(**spoilt)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.001, 0.999), st.sampled_from(["identity", "log1p", "logit"]))
def test_a_scale_and_back_is_the_same_number(value: float, scale: Any) -> None:
    assert from_scale(to_scale(np.array([value]), scale), scale)[0] == pytest.approx(value, rel=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 3), st.floats(-4, 4))
def test_a_recalibrated_probability_is_one_and_keeps_its_rank(
    values: list[float], slope: float, intercept: float
) -> None:
    found = Curve(slope=slope, intercept=intercept, scale="logit")(np.array(sorted(values)))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -1e-12).all()
