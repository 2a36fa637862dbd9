"""Bundles of the shipped problems on real data, made by the steps of the pipeline."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters import problem_files
from cd4ml.adapters.manifest import verify_manifest
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY
from cd4ml.adapters.storage import atomic
from cd4ml.errors import DataError
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.steps.bias import check_bias
from cd4ml.steps.features import build_features
from cd4ml.steps.package import package_model
from cd4ml.steps.score import score_model
from cd4ml.steps.search import choose_model, plan_search, search_family
from cd4ml.steps.snapshot import take_snapshot
from tests.adapters.s3_server import environment
from tests.models.bundles import document


def data_folder(name: str) -> Path:
    folder = Path(os.environ.get("CD4ML_TEST_DATA", "")) / name
    if not os.environ.get("CD4ML_TEST_DATA") or not folder.is_dir():
        pytest.skip(f"no real data: set CD4ML_TEST_DATA to a folder with {name}/")
    return folder


def made(name: str, data: Path, work: Path, **changes: Any) -> Path:
    """Run the steps from data to bundle with one candidate and one try, and return their folder."""
    shipped = problem_files.load(name)
    metrics = shipped.metrics.model_copy(update={"resamples": 100})
    problem = shipped.model_copy(update={"metrics": metrics, **changes})
    atomic.write_text(work / "problem.json", problem_files.dumps(problem))
    problem_file, snapshot, dataset = work / "problem.json", work / "snapshot", work / "dataset"
    take_snapshot(problem_file, str(data), str(work / "store"), snapshot, work / "profile.html")
    build_features(problem_file, snapshot, dataset)
    results = []
    for task in plan_search(problem_file, dataset):
        results.append(work / f"search-{task['name']}")
        search_family(problem_file, dataset, task, results[-1])
    choose_model(problem_file, dataset, results, work / "model")
    score_model(problem_file, snapshot, dataset, work / "model", work / "evaluation")
    atomic.write_json(work / "champion" / "champion.json", {"status": "first_release"})
    paths = (problem_file, snapshot, dataset, work / "model", work / "evaluation")
    check_bias(*paths, work / "champion", work / "bias")
    lineage = {key: key * 8 for key in ("data", "problem", "lock", "code")} | {"git_commit": "c0ffee+changes"}
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        package_model(*paths, lineage, work / "bundle", work / "checks", work / "bias")
    return work


def candidate(name: str, which: str, **parameters: Any) -> list[Any]:
    found = next(item for item in problem_files.load(name).candidates if item.name == which)
    return [found.model_copy(update={"parameters": parameters, "search": {}, "tries": 1})]


def test_bike_demand_becomes_a_bundle_that_predicts_the_same_where_it_is_served(tmp_path: Path) -> None:
    candidates = candidate("bike-demand", "boosting", max_iter=60)
    work = made("bike-demand", data_folder("bike"), tmp_path, candidates=candidates)
    verify_manifest(work / "bundle")
    checks = document(work, "checks/checks.json")
    assert checks["replay"]["identical"], checks["replay"]
    assert checks["contract_problems"] == []
    assert checks["parity"]["max_rel"] < 1e-4
    about = document(work / "bundle", "holdout/holdout.json")
    assert (about["refused"], about["rows"]) == (0, min(about["of"], 5000))
    assert about["of"] == document(work, "evaluation/evaluation.json")["holdout"]["rows"] > 1300
    # One row alone: the history that its lags need came along.
    loaded, rows = Bundle.load(work / "bundle"), holdout_rows(work / "bundle")
    expected = np.load(work / "bundle" / "holdout" / "prediction.npy")
    for place in (0, len(rows) // 2, len(rows) - 1):
        assert np.float32(loaded.predict_rows([rows[place]])["prediction"][0]) == expected[place]
    assert loaded.predict_rows([{**rows[0], "dteday": "2013-01-01"}])["prediction"][0] >= 0
    card = (work / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "17,379 rows of facts" in card
    assert "| workingday | 1 |" in card
    assert "c0ffee, with changes that are not in it" in card


def test_adult_income_refuses_what_training_did_not_see_when_asked_to(tmp_path: Path) -> None:
    shipped = problem_files.load("adult-income")
    serving = shipped.serving.model_copy(update={"unknown": "refuse"})
    candidates = candidate("adult-income", "boosting", max_iter=30)
    work = made("adult-income", data_folder("adult"), tmp_path, candidates=candidates, serving=serving)
    checks = document(work, "checks/checks.json")
    assert checks["replay"]["identical"], checks["replay"]
    assert checks["contract_problems"] == []
    fields = document(work / "bundle", "contract.json")["inputs"]["properties"]
    assert {len(fields["sex"]["enum"]), len(fields["race"]["enum"])} == {2, 5}
    assert None in fields["occupation"]["enum"]
    assert len(fields["native_country"]["enum"]) == 42  # 41 countries and null
    loaded, row = Bundle.load(work / "bundle"), holdout_rows(work / "bundle")[0]
    with pytest.raises(DataError, match="field 'native_country' must be a text, one of: "):
        loaded.predict_rows([{**row, "native_country": "Atlantis"}])
    assert json.loads((work / "evaluation" / "evaluation.json").read_text())["over_time"] == []
    card = (work / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "| sex | Female |" in card.split("## Groups")[1]
