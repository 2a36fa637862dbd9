"""A search repeats, keeps to its budget of row fits, and fails loudly when its time is over."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import BudgetError, DataError, MetricError, NotFoundError, UsageError
from cd4ml.models.data import rows_of
from cd4ml.models.fit import fit
from cd4ml.models.search import (
    candidate_of,
    choose,
    plan_search,
    primary_score,
    recent_sample,
    refit,
    run_search_task,
)
from tests.models.samples import SMALL, candidate, make_problem, make_rows

POINTS = {"learning_rate": [0.3, 0.1, 0.03], "min_samples_leaf": [5, 20]}
SEARCHED = [
    {"name": "boosting", "family": "gradient_boosting", "parameters": SMALL, "search": POINTS, "tries": 6},
    {"name": "linear", "family": "ridge", "search": {"alpha": [1.0, 10.0]}, "tries": 2},
]


def still():
    return 0.0


def searched(budget=20_000, **changes):
    return make_problem(candidates=SEARCHED, search={"budget_row_fits": budget, "seed": 3} | changes)


def run_all(problem, rows):
    return [run_search_task(problem, rows, task, 60, still) for task in plan_search(problem, rows)]


def test_a_plan_is_json_begins_with_the_default_and_ends_all_tasks_on_the_same_rows(regression_rows):
    tasks = plan_search(searched(), regression_rows)
    assert json.loads(json.dumps(tasks)) == tasks
    assert [task["name"] for task in tasks] == ["boosting", "linear"]
    assert tasks[0]["points"][0] == {"learning_rate": 0.3, "min_samples_leaf": 5}
    assert [len(task["points"]) for task in tasks] == [6, 2]
    assert {task["rungs"][-1]["rows"] for task in tasks} == {600} == {task["rows"] for task in tasks}


def test_a_candidate_without_a_space_is_tried_as_it_is(regression_rows):
    tasks = plan_search(make_problem(), regression_rows)
    assert [task["points"] for task in tasks] == [[{}]] * 3


@pytest.mark.parametrize("budget", [2_500, 5_000, 9_000, 100_000])
def test_what_is_spent_is_counted_in_rows_fitted_and_within_the_budget(regression_rows, budget):
    problem = searched(budget)
    results = run_all(problem, regression_rows)
    spent = sum(result["row_fits"] for result in results)
    assert 0 < spent <= budget
    for result in results:
        assert result["row_fits"] == sum(trial["row_fits"] for trial in result["trials"])
    rows = {result["best"]["rows"] for result in results}
    assert len(rows) == 1
    assert rows == {600} or budget < 9_600


def test_halving_tries_many_on_few_rows_and_keeps_the_best():
    rows = make_rows(count=24_000)
    problem = make_problem(candidates=SEARCHED[:1], search={"budget_row_fits": 100_000})
    task = plan_search(problem, rows)[0]
    assert [(rung["candidates"], rung["rows"]) for rung in task["rungs"]] == [(6, 4000), (2, 12_000)]
    result = run_search_task(problem, rows, task, 60, still)
    first = [trial for trial in result["trials"] if trial["rung"] == 0]
    last = [trial for trial in result["trials"] if trial["rung"] == 1]
    best = sorted(first, key=lambda trial: trial["mean"])[:2]
    assert [trial["parameters"] for trial in last] == [trial["parameters"] for trial in best]
    assert result["best"]["mean"] == min(trial["mean"] for trial in last)
    # The first fold has half of the rows of the second: it gets half of a rung.
    assert first[0]["row_fits"] == 4000 + 2000


def test_a_search_repeats_whatever_the_clock_says(regression_rows):
    problem = searched(5_000)
    ticking = iter(range(10**6))
    slow = [
        run_search_task(problem, regression_rows, task, 1e9, lambda: next(ticking))
        for task in plan_search(problem, regression_rows)
    ]
    assert run_all(problem, regression_rows) == slow


def test_the_whole_task_survives_numbers_that_come_back_as_floats(regression_rows):
    problem = searched(5_000)
    task = plan_search(problem, regression_rows)[0]
    through_kubeflow = json.loads(json.dumps(task), parse_int=float)
    expected = run_search_task(problem, regression_rows, task, 60, still)
    found = run_search_task(problem, regression_rows, through_kubeflow, 60, still)
    assert found["best"]["scores"] == expected["best"]["scores"]
    assert found["row_fits"] == expected["row_fits"]


@pytest.mark.parametrize("budget", [3, 1])
def test_a_budget_below_a_row_a_fold_names_what_is_needed(regression_rows, budget):
    with pytest.raises(BudgetError, match=r"search.budget_row_fits is \d; 2 candidates in 2 folds need more"):
        plan_search(searched(budget), regression_rows)


def test_no_folds_are_refused(regression_rows):
    class Unfolded:
        folds = ()

    with pytest.raises(UsageError, match=r"at least one fold; found none. Check `split.folds`"):
        plan_search(searched(), Unfolded())


def test_the_ceiling_of_time_fails_loudly_and_says_what_to_change(regression_rows):
    problem = searched()
    now = iter(range(0, 10_000, 10))
    with pytest.raises(BudgetError, match=r"'boosting' took longer than 25 s; lower search.budget_row_fits"):
        run_search_task(
            problem, regression_rows, plan_search(problem, regression_rows)[0], 25, lambda: next(now)
        )


def test_progress_has_a_line_a_trial_with_its_parameters(regression_rows):
    lines = []
    problem = make_problem()
    task = plan_search(problem, regression_rows)[2]
    result = run_search_task(problem, regression_rows, task, 60, still, lines.append)
    assert lines == [f"linear on 600 rows x 2 folds: wape {result['best']['mean']:.4f} (defaults)"]


def test_a_score_that_does_not_exist_comes_last_and_no_score_at_all_is_refused(regression_rows):
    rows = make_rows(count=1200)
    rows.y[300:900] = 0  # wape divides by what was sold
    problem = searched()
    with pytest.raises(MetricError, match="no point of 'linear' has a finite wape: wape"):
        run_search_task(problem, rows, plan_search(problem, rows)[1], 60, still)
    half = make_rows(count=1200)
    half.y[600:900] = 0
    lines = []
    with pytest.raises(MetricError):
        run_search_task(problem, half, plan_search(problem, half)[1], 60, still, lines.append)
    assert "wape none" in lines[0]


def test_rows_of_a_role_that_nobody_has_are_refused(regression_rows):
    with pytest.raises(DataError, match=r"expected left out rows in the dataset; found none. Check `split`"):
        rows_of(regression_rows, 2)


def test_an_unknown_candidate_is_refused_with_the_nearest():
    with pytest.raises(NotFoundError, match="unknown candidate 'lineer'; did you mean 'linear'"):
        candidate_of(searched(), "lineer")


def _result(name, family, mean):
    best = {"mean": mean, "parameters": {}, "scores": [mean]}
    return {"name": name, "family": family, "best": best}


def test_the_winner_has_the_best_mean_in_the_direction_of_the_metric_and_ties_go_to_the_simpler():
    results = [
        _result("b", "gradient_boosting", 0.3),
        _result("f", "random_forest", 0.2),
        _result("l", "ridge", 0.2),
    ]
    assert choose(make_problem(), results)["name"] == "l"
    assert choose(make_problem("classification"), results)["name"] == "b"
    assert choose(make_problem(), results[::-1]) == choose(make_problem(), results)
    with pytest.raises(UsageError, match="found none"):
        choose(make_problem(), [])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=200),
    st.integers(0, 250),
    st.integers(0, 9),
    st.booleans(),
)
def test_a_recent_sample_is_nested_and_half_of_it_is_the_newest(steps, count, seed, by_time):
    step = np.array(steps)
    found = recent_sample(step, count, seed, by_time)
    assert len(found) == min(count, len(step)) == np.unique(found).size
    assert set(recent_sample(step, count * RECENT // 100, seed, by_time)) <= set(found) or by_time
    if by_time and 0 < count < len(step):
        newest = np.sort(step)[::-1][: round(count / 2)]
        assert (np.sort(step[found])[::-1][: len(newest)] == newest).all()


RECENT = 60


def test_a_search_by_time_learns_from_the_newest_rows():
    step = np.arange(1000) // 10
    sampled = recent_sample(step, 100, 0, by_time=True)
    assert (sampled >= 950).sum() == 50
    assert (sampled < 950).sum() == 50
    assert sampled.min() < 100


def test_the_primary_score_is_that_of_the_rows_with_their_weights(regression_rows):
    rows = np.arange(900, 1200)
    y = regression_rows.y[rows]
    value = primary_score(make_problem(), regression_rows, rows, y + 1)
    assert value == pytest.approx(len(rows) / y.sum())
    pinball = make_problem(metrics={"primary": "pinball"}, stock={"under_cost": 3, "over_cost": 1})
    assert primary_score(pinball, regression_rows, rows, y - 1) == pytest.approx(0.75)


def test_the_refit_is_on_all_training_rows_and_other_seeds_show_the_luck(regression_rows):
    problem = make_problem()
    winner = choose(problem, [_result("forest", "random_forest", 0.2)])
    lines = []
    made = refit(problem, regression_rows, winner, 3, lines.append)
    train = regression_rows.role == 0
    by_hand = fit(
        problem,
        problem.candidates[1],
        {},
        regression_rows.X[train],
        regression_rows.y[train],
        regression_rows.weight[train],
        3,
    )
    assert (made.fitted.predict(regression_rows.X) == by_hand.predict(regression_rows.X)).all()
    assert [entry["seed"] for entry in made.repeats] == [3, 4, 5]
    assert len({entry["score"] for entry in made.repeats}) == 3
    assert made.quantile is None
    assert "forest on 900 rows, seed 3: wape" in lines[0]
    assert len(refit(problem, regression_rows, winner, 1).repeats) == 1


@pytest.mark.parametrize(
    ("winner", "candidates", "rate"),
    [
        ("boosting", SEARCHED, 0.03),
        ("linear", SEARCHED, 0.3),
        ("linear", SEARCHED[1:], 0.1),
    ],
)
def test_stock_decisions_get_a_quantile_by_boosting_whoever_wins(regression_rows, winner, candidates, rate):
    problem = make_problem(candidates=candidates, stock={"under_cost": 9, "over_cost": 1})
    family = {"boosting": "gradient_boosting", "linear": "ridge"}[winner]
    parameters = {"learning_rate": 0.03} if winner == "boosting" else {"alpha": 1.0}
    made = refit(problem, regression_rows, {"name": winner, "family": family, "parameters": parameters}, 1)
    assert made.quantile.quantile == pytest.approx(0.9)
    assert made.quantile.family == "gradient_boosting"
    assert made.quantile.parameters["learning_rate"] == rate
    held = regression_rows.role == 1
    covered = (regression_rows.y[held] <= made.quantile.predict(regression_rows.X[held])).mean()
    assert covered > 0.75
    assert candidate("ridge").name == "one"
