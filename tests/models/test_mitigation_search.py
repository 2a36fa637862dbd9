"""Treatments are tried on rows that nothing was fitted on, shown with their cost; one is taken by rule."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from cd4ml.domain.treatment import Treatment
from cd4ml.errors import ProblemError
from cd4ml.features.columns import CategoryArray
from cd4ml.models.mitigation import mitigate, simulate
from cd4ml.models.mitigation.attempts import OutOfFold, with_bounded_loss
from cd4ml.models.mitigation.grouping import groups_for, validation_rows
from cd4ml.models.parity import treatment_differences
from cd4ml.models.persist import Model, export_model
from cd4ml.models.search import refit
from cd4ml.problem import Problem
from tests.models.samples import SMALL, Rows, make_problem
from tests.models.treated_people import hired

KINDS = ("reweighing", "group_thresholds", "recalibration", "bounded_group_loss")
WINNER = {"name": "linear", "parameters": {}}
TABLES = {
    "sales": {
        "file": "s.csv",
        "columns": {
            "sold": {"type": "number"},
            "price": {"type": "number"},
            "sex": {"type": "category"},
            "age": {"type": "number"},
        },
    }
}


@dataclass(frozen=True)
class Grouped(Rows):
    """Rows with two groups, one of which has the target less often and noisier."""

    slices: dict[str, CategoryArray] = field(default_factory=dict)


def rows(task: str = "classification", count: int = 1600) -> Grouped:
    rng = np.random.Generator(np.random.PCG64(6))
    woman = (np.arange(count) * 7919) % 10 < 4
    X = rng.normal(size=(count, 5)).astype(np.float32)
    X[:, 1] += np.where(woman, -0.8, 0.8)
    z = 1.2 * X[:, 0] + 0.9 * X[:, 1] + np.where(woman, 1.5, 0.2) * rng.normal(size=count)
    y = (z > 0.3).astype(np.float64) if task == "classification" else 10 + z + np.where(woman, 3.0, 0.0)
    ages = CategoryArray((np.arange(count) % 2).astype(np.int32), ("below 40", "40 and above"))
    sex = CategoryArray(woman.astype(np.int32), ("man", "woman"))
    return Grouped(X, y, slices={"sex": sex, "age": ages})


def problem(*kinds: str, task: str = "classification", **changes: Any) -> Problem:
    mitigations = [{"kind": kind, "columns": ["sex"], "min_rows": 50} for kind in kinds]
    features = [{"kind": "columns", "columns": ["price"]}]
    base = {"tables": TABLES, "features": features, "sensitive": ["sex"], "slices": ["age"]}
    base |= {"bias": {"min_rows": 50}, "mitigations": mitigations}
    return make_problem(task, **(base | changes))


def fitted(asked: Problem, data: Grouped) -> Model:
    return export_model(refit(asked, data, WINNER, 1), data.names)


def mitigated(asked: Problem, data: Grouped, **more: Any) -> tuple[Model, Treatment | None, dict[str, Any]]:
    return mitigate(asked, data, fitted(asked, data), WINNER, **more)


def entries(frontier: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in frontier["treatments"]}


def test_every_treatment_is_shown_with_its_cost_and_effect_on_folds_and_holdout() -> None:
    _, treatment, frontier = mitigated(problem(*KINDS), rows())
    found = entries(frontier)
    assert list(found) == ["none", *KINDS]
    for entry in found.values():
        for part in ("folds", "holdout"):
            shown = entry[part]
            assert set(shown["metrics"]) == {"roc_auc", "accuracy"}
            interval = shown["metrics"]["accuracy"]
            assert interval["low"] <= interval["estimate"] <= interval["high"]
            assert shown["gap"]["measure"] == "selection_rate"
    assert not found["none"]["folds"]["gap"]["within"]
    assert found["group_thresholds"]["folds"]["gap"]["within"]
    assert found["reweighing"]["folds"]["gap"]["value"] < found["none"]["folds"]["gap"]["value"]
    assert treatment is not None
    assert treatment.kind == frontier["chosen"] == "group_thresholds"
    assert [entry["chosen"] for entry in frontier["treatments"]] == [False, False, True, False, False]
    assert "group thresholds by sex would bring" in frontier["suggestion"]


def test_thresholds_leave_the_model_as_it_is_and_cost_accuracy() -> None:
    asked, data = problem("group_thresholds"), rows()
    before = fitted(asked, data)
    model, treatment, frontier = mitigate(asked, data, before, WINNER)
    found = entries(frontier)
    assert model.onnx == before.onnx
    assert model.treatment == treatment
    metrics = [found[name]["holdout"]["metrics"] for name in ("none", "group_thresholds")]
    assert metrics[0]["roc_auc"] == metrics[1]["roc_auc"]
    assert metrics[0]["accuracy"]["estimate"] > metrics[1]["accuracy"]["estimate"]
    groups = found["group_thresholds"]["holdout"]["groups"]
    assert [group["group"] for group in groups] == ["man", "woman"]
    assert groups[0]["threshold"] > 0.5 > groups[1]["threshold"]


def test_a_model_within_the_policy_is_taken_as_it_is() -> None:
    asked, data = problem("group_thresholds", bias={"min_rows": 50, "min_rate_ratio": 0.01}), rows()
    before = fitted(asked, data)
    model, treatment, frontier = mitigate(asked, data, before, WINNER)
    assert treatment is None
    assert model == before
    assert frontier["chosen"] == "none"


def test_reweighing_fits_again_with_weights_by_which_the_groups_are_alike() -> None:
    asked, data = problem("reweighing", bias={"min_rows": 50, "min_rate_ratio": 0.9}), rows()
    before = fitted(asked, data)
    model, treatment, frontier = mitigate(asked, data, before, WINNER, repeats=2)
    assert treatment is not None
    assert treatment.kind == "reweighing"
    assert model.onnx != before.onnx
    assert [one["seed"] for one in model.repeats] == [3, 4]
    man, woman, _ = treatment.fit_weights or ()
    assert man[1] < 1 < woman[1]
    assert frontier["row_fits"] == 2 * entries(frontier)["none"]["row_fits"]


def test_bounded_group_loss_brings_the_worst_group_nearer_to_the_rest() -> None:
    asked, data = (
        problem("bounded_group_loss", task="regression", bias={"min_rows": 50, "max_error_ratio": 1.05}),
        rows("regression"),
    )
    asked = asked.model_copy(update={"target": asked.target.model_copy(update={"transform": "none"})})
    data = replace(data, X=np.ascontiguousarray(data.X[:, :1].repeat(5, axis=1)))
    folds = OutOfFold(asked, data, {"name": "linear", "parameters": {}}, lambda line: None)
    judged, plain = validation_rows(data), None
    plain = folds.predict("no treatment")
    groups = groups_for(asked, data, 0)
    found = with_bounded_loss(asked, folds, "bounded_group_loss", groups, judged, plain)
    woman = judged.columns["sex"].codes == 1
    before, after = (np.mean((p[woman] - judged.y[woman]) ** 2) for p in (plain, found.predictions))
    assert after < 0.9 * before
    assert found.treatment is not None
    man, extra, _ = found.treatment.fit_weights or ()
    assert 1.0 <= man[0] < extra[0]
    assert found.row_fits > 0


def test_thresholds_that_cannot_keep_the_ratio_come_as_near_as_they_can() -> None:
    strict = problem("group_thresholds", bias={"min_rows": 50, "min_rate_ratio": 0.9999})
    _, treatment, frontier = mitigated(strict, rows())
    gap = entries(frontier)["group_thresholds"]["folds"]["gap"]
    assert treatment is not None
    assert 0 < gap["value"] < 0.15
    assert not gap["within"]
    assert "still beyond" in frontier["suggestion"]


def test_numbers_on_a_log_scale_are_bounded_and_put_right_on_it() -> None:
    data = rows("regression")
    asked = problem("bounded_group_loss", "recalibration", task="regression", bias={"min_rows": 50})
    model, treatment, frontier = mitigated(asked, data)
    assert treatment is not None
    assert frontier["chosen"] in ("bounded_group_loss", "recalibration")
    shown = {
        name: entry["holdout"]["metrics"]["wape"]["estimate"] for name, entry in entries(frontier).items()
    }
    assert shown["recalibration"] < 0.9 * shown["none"]
    predictions, decisions = model.judge(data.X, data.slices)
    assert decisions is None
    assert (predictions >= 0).all()
    alone = simulate(asked, data.y, np.full(len(data.y), 9.0), data.slices)
    assert alone is not None
    found = entries(alone)["recalibration"]["folds"]["groups"]
    assert [abs(group["predicted"] - group["actual"]) < 0.2 for group in found] == [True, True]


def test_a_bound_that_all_groups_keep_needs_no_fit() -> None:
    asked, data = problem("bounded_group_loss", bias={"min_rows": 50, "max_error_ratio": 9.0}), rows()
    folds = OutOfFold(asked, data, WINNER, lambda line: None)
    plain = folds.predict("no treatment")
    before = folds.row_fits
    found = with_bounded_loss(asked, folds, "x", groups_for(asked, data, 0), validation_rows(data), plain)
    assert folds.row_fits == before
    assert found.predictions is plain


def test_what_is_shown_for_the_folds_was_not_found_on_its_own_rows() -> None:
    """Labels drawn at random: curves found on the rows that they are tried on would seem to help."""
    rng = np.random.Generator(np.random.PCG64(1))
    data = replace(rows(count=400), y=rng.integers(0, 2, 400).astype(float))
    _, _, frontier = mitigated(problem("recalibration", metrics={"primary": "brier", "resamples": 100}), data)
    found = entries(frontier)["recalibration"]["folds"]["metrics"]["brier"]["estimate"]
    assert found > 0.248


def test_two_of_a_kind_are_told_apart_by_their_columns() -> None:
    kinds = [{"kind": "recalibration", "columns": [name]} for name in ("sex", "shift")]
    tables = {
        "sales": {"file": "s.csv", "columns": TABLES["sales"]["columns"] | {"shift": {"type": "integer"}}}
    }
    data = rows()
    shift = CategoryArray((np.arange(1600) % 3).astype(np.int32), ("1", "2", "3"))
    data = replace(data, slices=data.slices | {"shift": shift})
    asked = problem(mitigations=kinds, slices=["shift"], tables=tables)
    _, _, frontier = mitigated(asked, data)
    assert list(entries(frontier)) == ["none", "recalibration:sex", "recalibration:shift"]


def test_columns_that_are_cut_into_ranges_are_refused_with_a_way_out() -> None:
    asked = problem(mitigations=[{"kind": "recalibration", "columns": ["age"]}])
    with pytest.raises(ProblemError, match=r"derive a column of few values .* `age_group`") as caught:
        mitigated(asked, rows())
    assert caught.value.path == ("mitigations", 0, "columns")


def test_columns_that_the_dataset_does_not_have_are_refused() -> None:
    data = replace(rows(), slices={"age": rows().slices["age"]})
    with pytest.raises(ProblemError, match="'sex' is no group"):
        mitigated(problem("recalibration"), data)


def test_a_single_cluster_is_found_and_tried_on_the_same_rows() -> None:
    asked, data = problem("group_thresholds"), rows(count=800)
    judged = replace(validation_rows(data), cluster=np.zeros(len(validation_rows(data).y), dtype=np.int64))
    found = simulate(asked, judged.y, np.full(len(judged.y), 0.5), judged.columns, cluster=judged.cluster)
    assert found is not None
    assert found["chosen"] == "none"
    assert found["suggestion"] == ""


def test_without_groups_there_is_nothing_to_simulate() -> None:
    assert simulate(problem(), np.ones(3), np.ones(3), {}) is None


def test_numbers_are_simulated_with_recalibration_alone() -> None:
    data = rows("regression")
    asked = problem(
        task="regression", target={"column": "sold"}, metrics={"primary": "mae", "resamples": 100}
    )
    found = simulate(asked, data.y, np.full(len(data.y), data.y.mean()), data.slices)
    assert found is not None
    assert list(entries(found)) == ["none", "recalibration"]


def test_decisions_that_the_export_turns_round_are_told() -> None:
    data = rows()
    asked = problem("group_thresholds")
    model = fitted(asked, data)
    groups = (data.slices["sex"].codes).astype(np.int64)
    _, treatment, _ = mitigated(asked, data)
    assert treatment is not None
    X = np.ascontiguousarray(data.X)
    assert treatment_differences(model.fitted, model.onnx, X, treatment, groups, 1e-4) == []
    other = export_model(refit(asked, replace(data, y=1 - data.y), WINNER, 1), data.names)
    found = treatment_differences(model.fitted, other.onnx, X, treatment, groups, 1e-4)
    assert len(found) == 2
    assert "after group thresholds by sex" in found[0]
    assert "decisions of the export" in found[1]


def test_the_winner_is_fitted_with_the_same_parameters_in_each_fold() -> None:
    asked, data = problem("recalibration"), rows(count=800)
    boosting = {"name": "boosting", "parameters": SMALL}
    lines: list[str] = []
    model = export_model(refit(asked, data, boosting, 1), data.names)
    mitigate(asked, data, model, boosting, progress=lines.append)
    assert lines == ["boosting, no treatment, in 2 folds"]


def test_the_real_steps_write_the_frontier_beside_the_model_and_the_scores() -> None:
    made = hired(
        "[{kind: reweighing}, {kind: group_thresholds}, {kind: recalibration}, {kind: bounded_group_loss}]"
    )
    assert made.json("model/mitigation.json") == made.json("evaluation/mitigation.json")
    assert made.json("model/mitigation.json")["chosen"] == made.json("model/treatment.json")["kind"]
