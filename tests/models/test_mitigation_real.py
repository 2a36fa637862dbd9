"""Adult: the default policy rejects the plain model; thresholds by sex and race make one that only warns."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters import problem_files
from cd4ml.models.runtime import Bundle, holdout_rows
from tests.models.test_real_bundles import data_folder, made

pytestmark = [pytest.mark.loop, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shipped = problem_files.load("adult-income-parity")
    boosting = [shipped.candidates[0].model_copy(update={"tries": 1})]
    treatments = [one for one in shipped.mitigations if one.kind in ("group_thresholds", "reweighing")]
    work = tmp_path_factory.mktemp("parity")
    return made(
        "adult-income-parity", data_folder("adult"), work, candidates=boosting, mitigations=treatments
    )


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_bytes())


@pytest.mark.timeout(300)
def test_thresholds_make_a_model_that_no_blocking_check_fails(parity: Path) -> None:
    rows = read(parity, "bias/bias.json")["rows"]
    assert {row["status"] for row in rows} <= {"pass", "warn", "insufficient_data"}
    extremes = {
        row["column"]: row
        for row in rows
        if (row["metric"], row["against"]) == ("selection_rate", "extremes")
    }
    assert set(extremes) == {"sex", "race", "sex x race"}
    assert extremes["sex"]["ratio"] > 0.8
    assert all(row["high"] >= 0.8 for row in extremes.values())


@pytest.mark.timeout(300)
def test_the_frontier_says_what_that_costs(parity: Path) -> None:
    frontier = read(parity, "evaluation/mitigation.json")
    entries = {entry["name"]: entry for entry in frontier["treatments"]}
    assert frontier["chosen"] == "group_thresholds"
    plain, treated = (entries[name]["holdout"] for name in ("none", "group_thresholds"))
    assert plain["gap"]["value"] > 0.8
    assert treated["gap"]["value"] < 0.35
    cost = plain["metrics"]["accuracy"]["estimate"] - treated["metrics"]["accuracy"]["estimate"]
    assert 0.01 < cost < 0.03
    assert plain["metrics"]["roc_auc"] == treated["metrics"]["roc_auc"]
    assert "group thresholds by sex x race would bring" in frontier["suggestion"]


@pytest.mark.timeout(300)
def test_it_is_served_as_it_was_judged(parity: Path) -> None:
    checks = read(parity, "checks/checks.json")
    assert checks["replay"]["identical"]
    assert checks["contract_problems"] == []
    bundle = Bundle.load(parity / "bundle", own=True)
    rows = holdout_rows(parity / "bundle")
    served = bundle.predict_rows(rows)
    woman = [row | {"sex": "Female", "race": "White"} for row in rows[:2000]]
    treatment = read(parity, "bundle/treatment.json")
    limit = treatment["thresholds"][treatment["groups"].index(["Female", "White"])]
    assert 0.1 < limit < 0.4
    called = bundle.predict_rows(woman)
    assert np.array_equal(called["decision"], called["prediction"] >= limit)
    assert set(np.unique(served["decision"])) == {0.0, 1.0}
