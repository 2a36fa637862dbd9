"""The step explains a model from the folders of the steps before, for trees and for linear models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cd4ml.adapters.problem_files import load, loads
from cd4ml.domain.proxies import Proxy, proxy_gates
from cd4ml.features.plan import compile_plan
from cd4ml.features.sources import holders
from cd4ml.models.fit import fit
from cd4ml.models.importance import permutation_importance
from cd4ml.models.persist import export_model, save_model
from cd4ml.models.search import Refit
from cd4ml.steps.explain import explain_model
from cd4ml.steps.features import build_features
from cd4ml.steps.fingerprint import fingerprint, resolve_problem
from cd4ml.steps.snapshot import take_snapshot
from cd4ml.tables.dataset import Dataset

PROBLEM = """
name: loans
task: classification
tables:
  people:
    file: people.csv
    columns:
      age: {type: integer}
      height: {type: number}
      sex: {type: category}
      job: {type: category, nulls: true}
      town: {type: category}
      paid: {type: integer, min: 0, max: 1}
facts: people
derived: {double_age: age * 2}
target: {column: paid, positive: 1}
features:
  - {kind: columns, columns: [height, double_age]}
  - {kind: category, columns: [job]}
  - {kind: category, columns: [town], encoding: one_hot}
split: {kind: random, holdout: 0.4, folds: 2}
candidates:
  - {name: trees, family: gradient_boosting, parameters: {max_iter: 20, max_leaf_nodes: 8}}
  - {name: line, family: logistic}
search: {budget_row_fits: 20000, seed: 3}
metrics: {primary: roc_auc, resamples: 100}
baselines: [{name: mean, kind: mean}]
slices: [job]
sensitive: [sex]
explanations: {excluded: {sex: 0.6, town: 0.6, age: 0.1, paid_like: 0.2}, rows: 600}
"""


def write(folder: Path) -> None:
    rng = np.random.default_rng(1)
    count = 2000
    sex = rng.integers(0, 2, count)
    age, height = rng.integers(18, 80, count), 165 + 13 * sex + 5 * rng.normal(size=count)
    job, town = rng.integers(0, 3, count), rng.integers(0, 3, count)
    chance = 1 / (1 + np.exp(-(0.06 * (height - 171) + 1.5 * (job == 1) + 0.02 * (age - 45))))
    paid = (rng.random(count) < chance).astype(int)
    jobs = ["baker", "smith", ""]
    lines = [
        f"{age[i]},{height[i]:.2f},{'fm'[sex[i]]},{jobs[job[i]]},{'xyz'[town[i]]},{paid[i]}"
        for i in range(count)
    ]
    folder.mkdir(parents=True)
    (folder / "people.csv").write_text("age,height,sex,job,town,paid\n" + "\n".join(lines) + "\n")
    (folder / "loans.yaml").write_text(PROBLEM.replace(", paid_like: 0.2", ""))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explain")
    write(root / "sources")
    source = str(root / "sources" / "loans.yaml")
    hashes = fingerprint(source, str(root / "sources"))
    resolve_problem(source, hashes["problem"], root / "problem.json")
    sources, store = str(root / "sources"), str(root / "store")
    take_snapshot(root / "problem.json", sources, store, root / "snapshot", root / "profile.html")
    build_features(root / "problem.json", root / "snapshot", root / "dataset")
    problem, data = loads((root / "problem.json").read_text()), Dataset.load(root / "dataset")
    train = data.role == 0
    for candidate in problem.candidates:
        given = np.ascontiguousarray(data.X[train]), data.y[train], data.weight[train]
        model = export_model(Refit(fit(problem, candidate, {}, *given, 1), None, []), data.names)
        for name in ("model", "evaluation"):
            (root / f"{name}-{candidate.name}").mkdir()
        save_model(root / f"model-{candidate.name}", model)
        found = {"importances": permutation_importance(problem, model.onnx, data)}
        (root / f"evaluation-{candidate.name}" / "evaluation.json").write_text(json.dumps(found))
    return root


def explained(place: Path, name: str, out: Path):
    folders = (place / f"model-{name}", place / f"evaluation-{name}")
    summary = explain_model(place / "problem.json", place / "dataset", *folders, out)
    return summary, json.loads((out / "explanations.json").read_text())


@pytest.mark.parametrize("name", ["trees", "line"])
def test_contributions_of_every_row_add_up_to_the_served_prediction(place, tmp_path, name):
    summary, found = explained(place, name, tmp_path / "out")
    values, rows = np.load(tmp_path / "out/contributions.npy"), np.load(tmp_path / "out/rows.npy")
    assert summary["rows"] == len(rows) == len(values) == 600
    from cd4ml.models.session import open_session, run

    data = Dataset.load(place / "dataset")
    X = np.ascontiguousarray(data.X[data.role == 1][rows])
    served = run(open_session((place / f"model-{name}/model.onnx").read_bytes()), X)
    raw = found["contributions"]["base"] + values.sum(axis=1)
    assert 1 / (1 + np.exp(-raw)) == pytest.approx(served, abs=1e-5)
    assert found["scale"] == "log-odds"
    for one in found["contributions"]["examples"]:
        total = one["base"] + sum(part["contribution"] for part in one["features"]) + one["others"]
        assert total == pytest.approx(one["raw"])
        assert one["predicted"] == pytest.approx(1 / (1 + np.exp(-total)), abs=1e-9)


def test_features_are_told_apart_and_categories_have_their_names(place, tmp_path):
    _, found = explained(place, "trees", tmp_path / "out")
    leading = [one["feature"] for one in found["contributions"]["all"][:2]]
    assert set(leading) == {"height", "job"}
    assert found["importances"]["all"][0]["feature"] in leading
    effects = {one["feature"]: one for one in found["effects"]}
    assert {point["at"] for point in effects["job"]["points"]} == {"smith", "baker"}
    assert effects["job"]["kind"] == "category" and effects["job"]["left_out"] > 100
    height = [point["estimate"] for point in effects["height"]["points"]]
    assert height[-1] - height[0] > 0.2
    assert found["interactions"]["pairs"] and found["coefficients"] is None
    values = {part["value"] for one in found["contributions"]["examples"] for part in one["features"]}
    assert values & {"smith", "baker"}


def test_slices_say_through_which_features_they_differ(place, tmp_path):
    _, found = explained(place, "trees", tmp_path / "out")
    women = next(one for one in found["contributions"]["slices"]["sex"] if one["slice"] == "f")
    assert women["difference"] < -0.3
    assert women["features"][0]["feature"] == "height" and women["features"][0]["high"] < 0
    weighed = found["importances"]["slices"]["sex"]
    assert next(one["importances"][0]["feature"] for one in weighed) in ("height", "job")


def test_an_excluded_column_that_comes_back_through_a_proxy_fails_its_gate(place, tmp_path):
    summary, found = explained(place, "trees", tmp_path / "out")
    proxies = {one["column"]: Proxy.from_dict(one) for one in found["proxies"]}
    assert set(proxies) == {"age", "sex", "town"}
    assert proxies["sex"].shares[0][0] == "height" and proxies["sex"].found.estimate > 0.9
    assert proxies["age"].direct == ("double_age",) and proxies["age"].measure == "r2"
    assert {"town=x", "town=y", "town=z"} < set(proxies["town"].direct)
    limits = {"sex": 0.6, "town": 0.6, "age": 0.1}
    states = {gate.name: gate for gate in proxy_gates(list(proxies.values()), limits)}
    assert {gate.status for gate in states.values()} == {"fail"}
    assert "height" in states["proxy:sex"].reason and "double_age" in states["proxy:age"].reason
    assert summary["proxies"]["sex"] == proxies["sex"].weighted.estimate > 0.8


def test_a_linear_model_shows_its_coefficients_with_intervals(place, tmp_path):
    _, found = explained(place, "line", tmp_path / "out")
    known = {one["feature"]: one for one in found["coefficients"]}
    assert known["height"]["low"] > 0.2
    assert known["height"]["per_unit"] == pytest.approx(0.06, abs=0.03)
    assert found["interactions"]["pairs"][0]["share"] == pytest.approx(0, abs=1e-5)


def test_the_same_folders_give_the_same_bytes(place, tmp_path):
    explained(place, "trees", tmp_path / "a")
    explained(place, "trees", tmp_path / "b")
    for name in ("explanations.json", "contributions.npy", "rows.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_unknown_excluded_column_is_refused_by_its_nearest(tmp_path):
    from cd4ml.errors import ProblemError
    from cd4ml.features.leakage import check_problem

    with pytest.raises(ProblemError, match="unknown column 'paid_like'"):
        check_problem(loads(PROBLEM))


def test_the_past_of_a_column_and_expressions_over_it_hold_it_and_what_is_joined_by_it_does_not():
    shop = compile_plan(load("sales-forecast"))
    held = holders(shop, "unit_sales", shop.names)
    assert {"log_sales_lag_16d", "log_sales_mean_7d", "log_sales_season_7d_8"} < set(held)
    assert not {"city", "promoted", "date_month", "age"} & set(held)
    assert holders(shop, "onpromotion", shop.names) == ("promoted", "promoted_mean_28d")
    assert holders(shop, "store_nbr", shop.names) == ()
