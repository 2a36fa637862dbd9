"""The bias step: training rows before training, holdout rows after it, the champion where there is one."""

import json
from datetime import date

import numpy as np
import pytest

from cd4ml.adapters.manifest import bundle_id
from cd4ml.domain.fairness.gate import bias_gates
from cd4ml.domain.fairness.rows import BiasReport
from cd4ml.problem import Problem
from cd4ml.steps.bias import Predictions, bias_report, check_bias, decided
from cd4ml.steps.features import build_features
from cd4ml.steps.fingerprint import fingerprint, resolve_problem
from cd4ml.steps.package import package_model
from cd4ml.steps.score import score_model
from cd4ml.steps.search import choose_model, plan_search, search_family
from cd4ml.steps.snapshot import take_snapshot
from cd4ml.tables.dataset import Dataset
from tests.steps.small_run import PROBLEM, write_sources


def _train(folder, more):
    """Run all steps up to the scores of the small problem with more lines."""
    data = write_sources(folder / "sources")
    (data / "bakery.yaml").write_text(PROBLEM + more)
    problem, snapshot, dataset = folder / "problem.json", folder / "snapshot", folder / "dataset"
    hashes = fingerprint(str(data / "bakery.yaml"), str(data))
    resolve_problem(str(data / "bakery.yaml"), hashes["problem"], problem)
    (folder / "store").mkdir()
    take_snapshot(problem, str(data), str(folder / "store"), snapshot, folder / "profile.html")
    build_features(problem, snapshot, dataset)
    results = [folder / "result"]
    search_family(problem, dataset, plan_search(problem, dataset)[0], results[0])
    choose_model(problem, dataset, results, folder / "model")
    score_model(problem, snapshot, dataset, folder / "model", folder / "evaluation")
    return folder


@pytest.fixture(scope="module")
def sliced(tmp_path_factory):
    return _train(
        tmp_path_factory.mktemp("sliced"), "slices: [shop, weekday]\nderived: {weekday: day_of_week(day)}\n"
    )


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory):
    return _train(tmp_path_factory.mktemp("sensitive"), "sensitive: [shop]\nbias: {min_rows: 10}\n")


def _step(folder, out, status, factor=1.0):
    champion = out / "champion"
    champion.mkdir(parents=True)
    (champion / "champion.json").write_text(json.dumps({"status": status}))
    if status == "scored":
        np.save(champion / "predictions.npy", factor * np.load(folder / "evaluation" / "predictions.npy"))
    names = ("problem.json", "snapshot", "dataset", "model", "evaluation")
    counts = check_bias(*(folder / name for name in names), champion, out / "bias")
    return counts, BiasReport.from_dict(json.loads((out / "bias" / "bias.json").read_text()))


def test_training_rows_are_checked_before_training_and_holdout_rows_after_it(sensitive, tmp_path):
    counts, report = _step(sensitive, tmp_path, "first_release")
    data = Dataset.load(sensitive / "dataset")
    for stage, role in (("pre", 0), ("post", 1)):
        rows = [row for row in report.rows if row.stage == stage]
        held = data.role == role
        assert {row.slice: row.n for row in rows} == {
            name: int((data.slices["shop"].codes[held] == code).sum())
            for code, name in enumerate(data.slices["shop"].categories)
        }
    assert counts["rows"] == len(report.rows)
    assert counts["blocking"] == report.families["blocking"]
    assert {row.metric for row in report.rows if row.family == "blocking"} == {"wape", "predicted_to_actual"}
    assert "recency" in {row.metric for row in report.rows}
    assert "pinball" in {row.metric for row in report.rows}
    assert {gate.name for gate in bias_gates(report)} >= {"bias:wape:shop", "bias:predicted_to_actual:shop"}


def test_clusters_are_those_of_the_problem(sliced, tmp_path):
    _, report = _step(sliced, tmp_path, "first_release")
    found = {(row.n, row.clusters) for row in report.rows if row.column == "weekday" and row.n < 28}
    assert found == {(4, 2)}  # two days of two shops


def test_a_champion_that_was_scored_is_compared_with_and_another_is_not(sensitive, tmp_path):
    _, scored = _step(sensitive, tmp_path / "scored", "scored", factor=1.5)
    _, first = _step(sensitive, tmp_path / "first", "first_release")
    _, unreadable = _step(sensitive, tmp_path / "unreadable", "unreadable")
    found = [row for row in scored.rows if row.against == "champion"]
    assert found
    assert all(row.ratio < 1 for row in found if row.metric == "wape")
    assert first == unreadable
    assert tuple(row for row in first.rows if row.against == "champion") == ()


def test_a_bundle_is_the_same_whoever_is_champion(sensitive, tmp_path):
    names = ("problem.json", "snapshot", "dataset", "model", "evaluation")
    lineage = {key: key for key in ("data", "problem", "lock", "code")}
    bundles = []
    for status in ("scored", "first_release"):
        out = tmp_path / status
        _step(sensitive, out, status, factor=1.5)
        paths = [sensitive / name for name in names]
        package_model(*paths, lineage, out / "bundle", out / "checks", out / "bias")
        bundles.append(out / "bundle")
    assert json.loads((bundles[0] / "bias.json").read_text())["rows"]
    assert bundle_id(bundles[0]) == bundle_id(bundles[1])


def test_slices_that_are_not_sensitive_inform_and_have_no_gate(sliced, tmp_path):
    _, report = _step(sliced, tmp_path, "first_release")
    assert report.rows
    assert {row.metric for row in report.rows} == {"wape", "predicted_to_actual"}
    assert {row.family for row in report.rows} == {"warning"}
    assert bias_gates(report) == []


def _report(folder, predictions, **bias):
    found = json.loads((folder / "problem.json").read_text())
    problem = Problem.model_validate(found | {"bias": found["bias"] | bias})
    return bias_report(problem, Dataset.load(folder / "dataset"), predictions, today=date(2026, 1, 1))


def test_a_measure_may_be_named_by_its_alias_and_then_blocks(sensitive):
    score = np.load(sensitive / "evaluation" / "predictions.npy")
    report = _report(sensitive, Predictions(score), block=["mean_residual_difference"])
    assert {row.metric for row in report.rows if row.family == "blocking"} == {"mean_signed_error"}


def test_a_shop_that_is_predicted_far_too_high_fails_with_its_name(sensitive):
    data = Dataset.load(sensitive / "dataset")
    score = np.array(np.load(sensitive / "evaluation" / "predictions.npy"))
    north = data.slices["shop"].codes[data.role == 1] == data.slices["shop"].categories.index("north")
    score[north] *= 2.0
    gates = {gate.name: gate for gate in bias_gates(_report(sensitive, Predictions(score)))}
    assert gates["bias:wape:shop"].status == "fail"
    assert "north" in gates["bias:wape:shop"].reason


def test_the_models_own_decisions_go_before_the_threshold():
    problem = Problem.model_construct(task="classification")
    score = np.array([0.2, 0.5, 0.9])
    assert list(decided(problem, Predictions(score))) == [0.0, 1.0, 1.0]
    assert list(decided(problem, Predictions(score, np.array([1, 0, 0])))) == [1.0, 0.0, 0.0]
