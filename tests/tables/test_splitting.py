"""Rows are split as the problem says, and a target that teaches nothing is refused."""

import numpy as np
import pytest

from cd4ml.domain.splits import Split
from cd4ml.errors import DataError
from cd4ml.features.plan import compile_plan
from cd4ml.tables.facts import Facts
from cd4ml.tables.splitting import check_target, describe_split, split_rows
from tests.features.samples import FIRST, SHOP, columns_of, day, random_rows, shop


def _facts(problem, rows, table=None):
    count = len(rows)
    tables = np.zeros(count, dtype=np.int64) if table is None else np.array(table)
    return Facts(columns_of(problem.fact, rows), tables, np.arange(count), ())


def _split(rows, table=None, **changes):
    problem = shop(**changes)
    return split_rows(compile_plan(problem), _facts(problem, rows, table))


def _steps(rows):
    return np.array([(row["date"] - FIRST).days for row in rows])


def test_a_split_by_time_holds_the_last_days_out_behind_a_gap():
    rows = random_rows(1)
    split, steps = _split(rows), _steps(rows)
    last = steps.max()
    assert (split.holdout == (steps > last - 4)).all()
    assert (split.train == (steps <= last - 4 - 2)).all()
    assert (split.unused == ~(split.train | split.holdout)).all()
    for fold, end in zip(split.folds, (last - 9, last - 6), strict=True):
        assert (fold.validation == ((steps <= end) & (steps > end - 3))).all()
        assert (fold.train == (steps <= end - 3 - 2)).all()


def test_an_embargo_lies_between_the_folds():
    rows = random_rows(1)
    split = _split(rows, split={**SHOP["split"], "gap": "0d", "embargo": "2d"})
    steps = _steps(rows)
    first, second = (steps[fold.validation] for fold in split.folds)
    assert second.min() - first.max() == 3
    assert (steps[split.folds[1].train] > first.max()).any()  # later folds learn from it


def test_a_split_by_entity_keeps_all_rows_of_one_together():
    rows = random_rows(1)
    split = _split(rows, split={"kind": "entity", "holdout": 0.3, "folds": 2})
    pairs = [(row["store"], row["item"]) for row in rows]
    for mask in (split.holdout, split.folds[0].validation, split.folds[1].validation):
        inside = {pair for pair, chosen in zip(pairs, mask, strict=True) if chosen}
        assert inside
        assert inside.isdisjoint({pair for pair, chosen in zip(pairs, mask, strict=True) if not chosen})
    assert not split.unused.any()


PLAIN = {
    "time": None, "panel": None, "horizon": None, "metrics": {"primary": "wape"},
    "features": [{"kind": "columns", "columns": ["size"]}], "baselines": SHOP["baselines"][2:],
}  # fmt: skip


def test_a_random_split_holds_about_a_fraction_out_and_repeats():
    rows = random_rows(1)
    changes = {**PLAIN, "split": {"kind": "random", "holdout": 0.25, "folds": 3}}
    split = _split(rows, **changes)
    assert 0.1 < split.holdout.mean() < 0.4
    assert (split.holdout == _split(rows, **changes).holdout).all()
    other = _split(rows, **changes, search={"seed": 9})
    assert (split.holdout != other.holdout).any()


def test_a_table_may_be_the_holdout_and_must_have_rows():
    tables = {**SHOP["tables"], "later": {**SHOP["tables"]["sales"], "file": "later.csv"}}
    changes = {**PLAIN, "tables": tables, "facts": ["sales", "later"]}
    changes["split"] = {"kind": "table", "holdout": "later", "folds": 2}
    rows = random_rows(1)[:10]
    split = _split(rows, table=[0] * 7 + [1] * 3, **changes)
    assert split.holdout.tolist() == [False] * 7 + [True] * 3
    with pytest.raises(DataError, match="rows of 'later' and of other facts; found no rows of it"):
        _split(rows, table=[0] * 10, **changes)
    with pytest.raises(DataError, match="found only rows of it"):
        _split(rows, table=[1] * 10, **changes)


@pytest.mark.parametrize("split", [SHOP["split"], {"kind": "entity", "holdout": 0.3, "folds": 2}])
def test_each_row_needs_a_time(split):
    rows = random_rows(1)
    with pytest.raises(DataError, match="expected a time 'date' in each row; found none in 1 of"):
        _split([*rows, {**rows[0], "date": None}], split=split)


def test_one_step_cannot_be_split_by_time():
    rows = [{**row, "date": day(3)} for row in random_rows(1)]
    with pytest.raises(
        DataError, match="more than one step of 1d in 'date'; found 2024-02-23T00:00:00 alone"
    ):
        _split(rows)


def test_too_short_a_history_says_what_is_needed():
    rows = [row for row in random_rows(1) if _steps([row])[0] > 15]
    with pytest.raises(DataError, match=r"holdout 4 \+ 2 folds of 3 \+ gaps of 2 need at least 15"):
        _split(rows)


def test_a_split_is_described_by_counts_and_days():
    problem, rows = shop(), random_rows(1)
    plan = compile_plan(problem)
    split, steps = _split(rows), _steps(rows)
    origin = int(np.datetime64(FIRST, "s").astype(np.int64))
    found = describe_split(plan, split, steps, origin)
    held = [row["date"] for row, chosen in zip(rows, split.holdout, strict=True) if chosen]
    assert found["kind"] == "time"
    assert found["holdout"] == {"rows": len(held), "first": str(min(held)), "last": str(max(held))}
    assert sum(found[part]["rows"] for part in ("train", "holdout", "unused")) == len(rows)
    assert [fold["validation"]["rows"] for fold in found["folds"]] == [
        int(fold.validation.sum()) for fold in split.folds
    ]


def test_hours_are_described_with_their_time_of_day():
    derived = {**SHOP["derived"], "at": "date + hours(store)"}
    problem = shop(derived=derived, time={"column": "at", "step": "1h"}, horizon="2h",
                   features=[{"kind": "age"}], split={"kind": "time", "holdout": "5h"},
                   baselines=SHOP["baselines"][2:])  # fmt: skip
    mask = np.array([True, True, False])
    split = Split((), mask, ~mask, np.zeros(3, dtype=bool))
    found = describe_split(compile_plan(problem), split, np.array([0, 25, 48]), 0)
    assert found["train"] == {"rows": 2, "first": "1970-01-01T00:00:00", "last": "1970-01-02T01:00:00"}
    assert found["holdout"]["last"] == "1970-01-03T00:00:00"
    assert found["unused"] == {"rows": 0}


def _masks(train, holdout):
    train, holdout = np.array(train, dtype=bool), np.array(holdout, dtype=bool)
    return Split((), train, holdout, ~(train | holdout))


def test_a_target_without_rows_names_the_rules_that_dropped_them():
    with pytest.raises(DataError, match="no rows are left of 0; look at the sources"):
        check_target(shop(), np.empty(0), 0, {})
    with pytest.raises(DataError, match="no rows are left of 9: dropped were 7 by 'a', 2 by 'c'; look"):
        check_target(shop(), np.empty(0), 9, {"a": 7, "b": 0, "c": 2})


def test_a_target_that_is_null_is_counted():
    with pytest.raises(DataError, match="the target 'amount' in each row; found none in 2 of 3"):
        check_target(shop(), np.array([1.0, np.nan, np.inf]), 3, {})


def test_a_constant_target_is_refused_also_when_it_varies_in_the_holdout():
    with pytest.raises(DataError, match="that varies; found 2 in all 3 rows"):
        check_target(shop(), np.full(3, 2.0), 3, {})
    target = np.array([2.0, 2.0, 5.0])
    check_target(shop(), target, 3, {})
    with pytest.raises(DataError, match="found 2 in the training 2 rows"):
        check_target(shop(), target, 3, {}, _masks([1, 1, 0], [0, 0, 1]))
    check_target(shop(), target[::-1], 3, {}, _masks([1, 1, 0], [0, 0, 1]))


def test_both_classes_are_needed_in_training_and_holdout():
    problem = shop(
        task="classification",
        target={"column": "amount", "positive": 1},
        candidates=[{"name": "linear", "family": "logistic"}],
    )
    target = np.array([1.0, 0.0, 1.0, 0.0])
    check_target(problem, target, 4, {}, _masks([1, 1, 0, 0], [0, 0, 1, 1]))
    with pytest.raises(DataError, match="in all rows; found the positive one alone, look at"):
        check_target(problem, np.ones(3), 3, {})
    with pytest.raises(DataError, match="in all rows; found others than '1' alone"):
        check_target(problem, np.zeros(3), 3, {})
    with pytest.raises(DataError, match="in the training rows; found the positive one alone"):
        check_target(problem, target, 4, {}, _masks([1, 0, 1, 0], [0, 1, 0, 1]))
    with pytest.raises(DataError, match="in the holdout rows; found others than '1' alone"):
        check_target(problem, target, 4, {}, _masks([1, 1, 1, 0], [0, 0, 0, 1]))
