"""A treated model: what is judged is what is served, from the columns that its groups need."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cd4ml.adapters.manifest import verify_manifest, write_manifest
from cd4ml.errors import DataError, IntegrityError, UsageError
from cd4ml.features.columns import take
from cd4ml.models.persist import load_model
from cd4ml.models.reload import replay_in_serving_runtime
from cd4ml.models.runtime import FORMAT, Bundle, holdout_rows
from cd4ml.steps.reproduce import reproduce
from cd4ml.tables.dataset import Dataset
from tests.models.bundles import contents, document
from tests.models.treated_people import Made, hired, package, paid

THRESHOLDS = "[{kind: group_thresholds, columns: [sex], min_rows: 100}]"
CURVES = "[{kind: recalibration, columns: [sex], min_rows: 100}]"
ALL = "[{kind: reweighing}, {kind: group_thresholds}, {kind: recalibration}, {kind: bounded_group_loss}]"


def decided() -> Made:
    return hired(THRESHOLDS)


def test_the_treatment_lies_in_the_bundle_and_in_its_manifest() -> None:
    made = decided()
    treatment = made.json("bundle/treatment.json")
    assert treatment["kind"] == "group_thresholds"
    assert treatment["groups"] == [["man"], ["woman"]]
    assert treatment["thresholds"][1] < 0.5 < treatment["thresholds"][0]
    assert "treatment.json" in verify_manifest(made.work / "bundle")["files"]
    assert made.json("bundle/mitigation.json") == made.json("model/mitigation.json")


def test_a_caller_must_send_what_the_groups_need_though_no_feature_does() -> None:
    made = decided()
    contract = made.json("bundle/contract.json")
    assert set(contract["inputs"]["properties"]) == {"skill", "tenure", "sex"}
    assert contract["treatment"] == {"kind": "group_thresholds", "columns": ["sex"]}
    assert contract["decision"]["name"] == "decision"
    row = holdout_rows(made.work / "bundle")[0]
    with pytest.raises(DataError, match="unknown field 'grade'"):
        made.bundle().predict_rows([row | {"grade": 1}])


def test_what_is_judged_is_what_is_served() -> None:
    made, bundle = decided(), decided().bundle()
    rows = holdout_rows(made.work / "bundle")
    served = bundle.predict_rows(rows)
    columns = bundle.columns(rows)
    judged, predicted = (np.load(made.work / "evaluation" / f"{n}.npy") for n in ("decisions", "predictions"))
    assert len(rows) == len(judged)
    assert served["prediction"] == pytest.approx(predicted, abs=1e-6)
    assert served["decision"].tolist() == judged.tolist() == bundle.decide(columns).tolist()
    assert bundle.predict(columns).tolist() == served["prediction"].tolist()
    assert (judged != (predicted >= 0.5)).sum() > 20


def test_a_row_alone_and_an_unknown_group_are_decided_too() -> None:
    bundle = decided().bundle()
    row = {"skill": 0.3, "tenure": 3}
    woman, man, strange, none = (
        bundle.predict_rows([row | {"sex": sex}]) for sex in ("woman", "man", "someone", None)
    )
    assert woman["prediction"] == man["prediction"]
    assert (woman["decision"][0], man["decision"][0]) == (1, 0)
    assert strange == none == bundle.predict_rows([row])


def test_the_groups_of_the_holdout_are_called_positive_about_equally_often() -> None:
    made = decided()
    data = Dataset.load(made.work / "dataset")
    sex = data.slices["sex"].codes[data.role == 1]
    decisions = np.load(made.work / "evaluation" / "decisions.npy")
    plain = np.load(made.work / "evaluation" / "predictions.npy") >= 0.5
    rates, before = ([called[sex == code].mean() for code in (0, 1)] for called in (decisions, plain))
    assert min(before) / max(before) < 0.6
    assert min(rates) / max(rates) > 0.75


def test_metrics_of_calls_are_those_of_the_treated_decisions() -> None:
    made = decided()
    data = Dataset.load(made.work / "dataset")
    y = data.y[data.role == 1]
    decisions = np.load(made.work / "evaluation" / "decisions.npy")
    holdout = made.json("evaluation/metrics.json")["holdout"]
    assert holdout["accuracy"]["estimate"] == pytest.approx((decisions == y).mean())
    assert holdout["recall"]["estimate"] == pytest.approx(decisions[y == 1].mean())
    confusion = made.json("evaluation/evaluation.json")["confusion"]
    assert confusion["tp"] == int((decisions * y).sum())


def test_a_primary_metric_of_calls_is_chosen_and_compared_by_decisions() -> None:
    made = hired(THRESHOLDS, "accuracy")
    found = made.json("evaluation/metrics.json")
    accuracy = found["holdout"]["accuracy"]["estimate"]
    level = found["baselines"]["prior"]["accuracy"]["estimate"]
    gain = made.json("evaluation/improvements.json")["prior"]["estimate"]
    assert gain == pytest.approx((accuracy - level) / (1 - level))


@pytest.mark.parametrize("mitigations", [THRESHOLDS, CURVES])
def test_it_replays_to_the_bit_where_it_is_served(mitigations: str) -> None:
    made = hired(mitigations, extra="serving: {max_rows: 300}\n")
    found = replay_in_serving_runtime(made.work / "bundle")
    assert found.identical, found.detail
    assert found.rows > 300
    assert made.json("checks/checks.json")["contract_problems"] == []


def test_a_serving_that_tells_groups_otherwise_does_not_replay(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(decided().work / "bundle", tmp_path / "bundle"))
    treatment = json.loads((copy / "treatment.json").read_bytes())
    treatment["groups"].reverse()
    (copy / "treatment.json").write_text(json.dumps(treatment))
    with pytest.raises(IntegrityError, match=r"treatment\.json"):
        Bundle.load(copy, own=True)
    (copy / "manifest.json").unlink()
    write_manifest(copy, format=FORMAT, problem="hired")
    assert not replay_in_serving_runtime(copy).identical


def test_a_treatment_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(decided().work / "model", tmp_path / "model"))
    (copy / "treatment.json").write_text('{"kind": "magic"}')
    with pytest.raises(IntegrityError, match=r"treatment\.json of 'model' cannot be read"):
        load_model(copy)
    (copy / "treatment.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"treatment\.json"):
        load_model(copy)


def test_features_without_groups_are_not_predicted() -> None:
    bundle = decided().bundle()
    X = np.zeros((2, 2), dtype=np.float32)
    with pytest.raises(UsageError, match="group thresholds by sex"):
        bundle.predict_features(X)
    assert set(bundle.predict_features(X, np.array([0, 2]))) == {"prediction", "decision"}


def test_columns_without_those_of_the_groups_are_refused() -> None:
    made, bundle = decided(), decided().bundle()
    columns = bundle.columns(holdout_rows(made.work / "bundle")[:3])
    with pytest.raises(DataError, match="'sex'"):
        bundle.decide({name: column for name, column in columns.items() if name != "sex"})
    with pytest.raises(DataError, match="'sex'"):
        bundle.predict({name: column for name, column in columns.items() if name != "sex"})


def test_recalibrated_predictions_are_served_and_judged() -> None:
    made = hired(CURVES)
    served = made.bundle().predict_rows(holdout_rows(made.work / "bundle"))["prediction"]
    judged = np.load(made.work / "evaluation" / "predictions.npy")
    chosen = made.json("model/mitigation.json")["chosen"]
    assert chosen == ("recalibration" if (made.work / "model" / "treatment.json").is_file() else "none")
    assert served == pytest.approx(judged, abs=1e-5)


def test_a_number_is_put_right_by_group_and_stays_above_its_minimum() -> None:
    made = paid(CURVES)
    treatment = made.json("bundle/treatment.json")
    assert (treatment["kind"], treatment["minimum"]) == ("recalibration", 0.0)
    bundle, rows = made.bundle(), holdout_rows(made.work / "bundle")
    served = bundle.predict_rows(rows)
    assert set(served) == {"prediction"}
    assert served["prediction"] == pytest.approx(
        np.load(made.work / "evaluation" / "predictions.npy"), rel=1e-5
    )
    woman, man = (
        bundle.predict_rows([{"skill": -90.0, "sex": sex}])["prediction"][0] for sex in ("woman", "man")
    )
    assert woman == 0.0 < man
    with pytest.raises(UsageError, match="classification"):
        bundle.decide(bundle.columns(rows[:1]))
    assert replay_in_serving_runtime(made.work / "bundle").identical
    frontier = {entry["name"]: entry["holdout"] for entry in made.json("model/mitigation.json")["treatments"]}
    worse, better = (frontier[name]["metrics"]["mae"]["estimate"] for name in ("none", "recalibration"))
    assert better < 0.5 * worse
    assert frontier["recalibration"]["gap"]["value"] < 0.05 < frontier["none"]["gap"]["value"]


def test_a_bundle_without_a_treatment_says_so_and_decides_from_a_half() -> None:
    made = hired("[]")
    assert not (made.work / "bundle" / "treatment.json").exists()
    contract = made.json("bundle/contract.json")
    assert (contract["decision"], contract["treatment"]) == (None, None)
    assert set(contract["inputs"]["properties"]) == {"skill", "tenure"}
    bundle = made.bundle()
    columns = bundle.columns(holdout_rows(made.work / "bundle")[:100])
    assert bundle.decide(columns).tolist() == (bundle.predict(columns) >= 0.5).tolist()
    assert np.load(made.work / "evaluation" / "decisions.npy").mean() > 0
    # Nothing was asked for: what thresholds would do is simulated, and said.
    told = made.json("evaluation/mitigation.json")
    assert "simulated on the holdout" in told["suggestion"]
    assert "group thresholds by sex would bring" in told["suggestion"]


def test_unknown_groups_are_refused_where_unknown_values_are(tmp_path: Path) -> None:
    made = hired(THRESHOLDS, extra="serving: {unknown: refuse}\n")
    with pytest.raises(DataError, match="'sex'"):
        made.bundle().predict_rows([{"skill": 0.3, "tenure": 3, "sex": "someone"}])


def test_a_holdout_without_groups_makes_no_bundle(tmp_path: Path) -> None:
    from dataclasses import replace

    from cd4ml.adapters import problem_files
    from cd4ml.models.bundle import Holdout, Papers, write_bundle

    made = decided()
    data, model = Dataset.load(made.work / "dataset"), load_model(made.work / "model")
    problem = problem_files.load(str(made.work / "problem.json"))
    columns = made.bundle().columns(holdout_rows(made.work / "bundle"))
    held = np.flatnonzero(data.role == 1)
    holdout = Holdout(np.ascontiguousarray(data.X[held]), columns, data.y[held])
    with pytest.raises(UsageError, match=r"needs the group of each of \d+ holdout rows; found None"):
        write_bundle(tmp_path / "b", problem, model, data.state, holdout, Papers({}, {}))
    few = replace(holdout, groups=np.zeros(3, dtype=np.int64))
    with pytest.raises(UsageError, match="found 3"):
        write_bundle(tmp_path / "b", problem, model, data.state, few, Papers({}, {}))
    bare = replace(holdout, inputs=take({k: columns[k] for k in ("skill", "tenure")}, slice(None)))
    bare = replace(bare, groups=np.zeros(len(held), dtype=np.int64))
    with pytest.raises(UsageError, match="must have 'sex'"):
        write_bundle(tmp_path / "b", problem, model, data.state, bare, Papers({}, {}))


def test_packaging_again_gives_the_same_bytes(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(decided().work, tmp_path / "again"))
    before = contents(copy / "bundle")
    package(copy)
    found = contents(copy / "bundle")
    assert found.keys() == before.keys()
    # The lineage has the hash of the code, which somebody may be editing; card and manifest depend on it.
    for name in sorted(found):
        if not name.startswith(("lineage", "card", "manifest")):
            assert found[name] == before[name], name


def test_an_export_that_decides_otherwise_is_told(tmp_path: Path) -> None:
    from cd4ml.adapters import problem_files
    from cd4ml.models.export import to_onnx
    from cd4ml.models.fit import fit

    copy = Path(shutil.copytree(decided().work, tmp_path / "other"))
    data, problem = Dataset.load(copy / "dataset"), problem_files.load(str(copy / "problem.json"))
    rows = np.flatnonzero(data.role == 0)
    X, turned = np.ascontiguousarray(data.X[rows]), 1 - data.y[rows]
    other = fit(problem, problem.candidates[0], {}, X, turned, data.weight[rows], 7)
    (copy / "model" / "model.onnx").write_bytes(to_onnx(other, list(data.names)))
    package(copy)
    found = document(copy, "checks/checks.json")["contract_problems"]
    assert any("decisions of the export are not those of the estimator" in told for told in found)


def test_a_treated_model_comes_out_again_from_its_snapshot(tmp_path: Path) -> None:
    from cd4ml.adapters.storage import open_store

    made = hired("[{kind: reweighing}]")
    assert made.json("bundle/treatment.json")["fit_weights"][0] != [1.0, 1.0]
    store = open_store(str(made.work / "store"))
    found = reproduce(made.work / "bundle", store, tmp_path)
    assert [one.name for one in found.models] == ["model.onnx", "treatment.json"]
    assert found.same
