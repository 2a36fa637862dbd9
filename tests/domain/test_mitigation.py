"""The largest gap, the choice among treatments and the sentence that suggests one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from cd4ml.domain.fairness.catalogue import find
from cd4ml.domain.fairness.measure import Sample
from cd4ml.domain.mitigation import Gap, Tried, blocking, choose_treatment, suggest, worst_gap
from cd4ml.errors import UsageError
from cd4ml.problem import Bias
from tests.models.samples import make_problem


@dataclass(frozen=True)
class Column:
    codes: Any
    categories: tuple[str, ...]


def sample(rates: dict[str, float], rows: int = 100) -> tuple[Sample, dict[str, Column]]:
    """Return rows of which the given share of each group is called positive; every second one is."""
    decision = np.concatenate([np.arange(rows) < round(rate * rows) for rate in rates.values()]).astype(float)
    y = np.tile([0.0, 1.0], len(decision) // 2)
    codes = np.repeat(np.arange(len(rates), dtype=np.int32), rows)
    return Sample(y, decision, decision, np.ones(len(y))), {"sex": Column(codes, tuple(rates))}


SELECTION = (find("selection_rate"),)


def test_the_gap_of_a_rate_is_one_less_the_lowest_over_the_highest() -> None:
    found = worst_gap(*sample({"a": 0.5, "b": 0.2, "c": 0.4}), SELECTION, Bias(min_rows=100))
    assert (found.measure, found.column, found.groups) == ("selection_rate", "sex", ("b", "a"))
    assert (found.value, found.limit) == pytest.approx((0.6, 0.2))
    assert not found.within
    assert found.share == pytest.approx(3.0)


def test_small_groups_take_no_part() -> None:
    rows, columns = sample({"a": 0.5, "b": 0.01})
    few = np.r_[np.arange(100), 100 + np.arange(99)]
    columns = {"sex": Column(columns["sex"].codes[few], ("a", "b"))}
    assert worst_gap(rows.take(few), columns, SELECTION, Bias(min_rows=100)).value == 0


def test_crossings_are_looked_at_down_to_the_policys_depth() -> None:
    rows, columns = sample({"a": 0.6, "b": 0.6, "c": 0.6, "d": 0.2})
    codes = columns["sex"].codes
    crossed = {"one": Column(codes // 2, ("x", "y")), "two": Column(codes % 2, ("p", "q"))}
    deep = worst_gap(rows, crossed, SELECTION, Bias(min_rows=50, depth=2))
    flat = worst_gap(rows, crossed, SELECTION, Bias(min_rows=50, depth=1))
    assert (deep.column, deep.groups[0]) == ("one x two", "y x q")
    assert deep.value == pytest.approx(2 / 3)
    assert flat.value == pytest.approx(1 / 3)


def test_what_has_no_value_is_no_gap() -> None:
    rows, columns = sample({"a": 0.5, "b": 0.2})
    nobody = replace(rows, y=np.zeros(len(rows.y)))
    for name in ("true_positive_rate", "f1"):
        assert worst_gap(nobody, columns, (find(name),), Bias(min_rows=50)).value == 0
    zero = np.full(len(rows.y), 0.0)
    exact = Sample(zero, zero, None, rows.weight)
    assert worst_gap(exact, columns, (find("mae"),), Bias(min_rows=50)).value == 0


def test_nobody_called_positive_is_no_gap() -> None:
    assert worst_gap(*sample({"a": 0.0, "b": 0.0}), SELECTION, Bias(min_rows=50)).value == 0


def test_an_error_ratio_is_held_against_the_rest() -> None:
    y = np.full(400, 10.0)
    predicted = y + np.repeat([1.0, 3.0], 200)
    columns = {"shop": Column(np.repeat([0, 1], 200).astype(np.int32), ("near", "far"))}
    found = worst_gap(Sample(y, predicted, None, np.ones(400)), columns, (find("mae"),), Bias())
    assert found.groups == ("far",)
    assert (found.value, found.limit) == pytest.approx((2.0, 0.25))


def test_a_difference_counts_by_its_size_and_measures_compare_by_their_limits() -> None:
    rows, columns = sample({"a": 0.5, "b": 0.3})
    both = (*SELECTION, find("selection_rate_difference"))
    found = worst_gap(rows, columns, both, Bias(min_rows=50))
    assert found.measure == "selection_rate"
    alone = worst_gap(rows, columns, both[1:], Bias(min_rows=50))
    assert alone.measure == "selection_rate_difference"
    assert alone.limit == 0.1


def test_the_measures_are_those_that_block() -> None:
    assert [m.name for m in blocking(make_problem("classification"))] == ["selection_rate"]
    chosen = make_problem("classification", bias={"block": ["false_positive_rate"]})
    assert [m.name for m in blocking(chosen)] == ["false_positive_rate"]


def tried(name: str, metric: float, gap: float, accuracy: float | None = None) -> Tried:
    return Tried(name, metric, accuracy, Gap("selection_rate", "sex", (), gap, 0.2))


@pytest.mark.parametrize(
    ("of", "chosen"),
    [
        ([tried("none", 0.9, 0.1), tried("x", 0.9, 0.0)], "none"),
        ([tried("none", 0.9, 0.1, 0.7), tried("x", 0.9, 0.0, 0.8)], "none"),
        ([tried("none", 0.9, 0.5), tried("x", 0.7, 0.19), tried("y", 0.8, 0.2)], "y"),
        ([tried("none", 0.9, 0.5), tried("x", 0.7, 0.4), tried("y", 0.8, 0.45)], "x"),
        ([tried("none", 0.9, 0.5), tried("x", 0.9, 0.1, 0.7), tried("y", 0.9, 0.1, 0.8)], "y"),
        ([tried("none", 0.9, 0.5), tried("x", 0.9, 0.1), tried("y", 0.9, 0.0)], "x"),
    ],
)
def test_the_rule_takes_the_best_that_is_within_the_policy_and_else_the_smallest_gap(
    of: list[Tried], chosen: str
) -> None:
    assert choose_treatment(of, True).name == chosen


def test_for_an_error_the_smaller_metric_is_better() -> None:
    assert choose_treatment([tried("none", 0.3, 0.1), tried("x", 0.2, 0.1)], False).name == "x"


def test_nothing_to_choose_from_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="nothing"):
        choose_treatment([], True)


def frontier(*treatments: tuple[str, float, float, float]) -> dict[str, Any]:
    entries = [
        {
            "name": name,
            "label": f"{name} by sex",
            "folds": {
                "metrics": {"roc_auc": {"estimate": auc}, "accuracy": {"estimate": accuracy}},
                "gap": Gap("selection_rate", "sex", ("F", "M"), gap, 0.2).to_dict(),
            },
        }
        for name, auc, accuracy, gap in treatments
    ]
    return {
        "primary": "roc_auc",
        "higher_is_better": True,
        "simulated_on": "on the folds",
        "treatments": entries,
    }


def test_the_suggestion_names_the_treatment_its_effect_and_its_cost() -> None:
    found = suggest(
        frontier(("none", 0.92, 0.87, 0.7), ("thresholds", 0.92, 0.85, 0.18), ("x", 0.9, 0.86, 0.6))
    )
    assert found == (
        "thresholds by sex would bring the largest gap from 0.7 (selection_rate by sex) to 0.18 "
        "(selection_rate by sex), within the policy's 0.2; roc_auc 0.9200 to 0.9200, "
        "accuracy 0.8700 to 0.8500 (on the folds)"
    )
    assert "still beyond" in suggest(frontier(("none", 0.92, 0.87, 0.7), ("x", 0.9, 0.86, 0.6)))


def test_what_does_not_help_is_not_suggested() -> None:
    assert suggest(frontier(("none", 0.92, 0.87, 0.3), ("x", 0.93, 0.88, 0.3))) == ""
    assert suggest(frontier(("none", 0.92, 0.87, 0.3))) == ""


def test_a_limit_of_nothing_allows_nothing() -> None:
    assert Gap("m", "c", (), 0.1, 0.0).share == float("inf")
    assert Gap("m", "c", (), 0.0, 0.0).share == 0
