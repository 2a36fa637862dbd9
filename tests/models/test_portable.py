"""A bundle as plain ONNX: what another team gets is enough, and predicts what was judged."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import jsonschema
import numpy as np
import onnx
import onnxruntime
import pytest

from cd4ml.adapters import problem_files
from cd4ml.adapters.manifest import write_manifest
from cd4ml.errors import GateRejected
from cd4ml.features.fitting import fit_state
from cd4ml.features.plan import compile_plan, target_values
from cd4ml.features.transform import transform
from cd4ml.models.bundle import Holdout, write_bundle
from cd4ml.models.fit import fit
from cd4ml.models.persist import export_model
from cd4ml.models.portable import SAMPLE_ROWS, probe_inputs, write_portable
from cd4ml.models.portable_rows import NULL_TEXT, fold, row_inputs, why_not
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.models.search import Refit
from tests.models.bundles import PEOPLE, SHOP, bundle, copy, members, people

WIDE = PEOPLE.replace(
    "  - {kind: category, columns: [plan, note]}",
    "  - {kind: category, columns: [plan], encoding: one_hot, max_categories: 2}\n"
    "  - {kind: category, columns: [note], encoding: frequency}\n"
    "  - {kind: category, columns: [plan], max_categories: 1}",
).replace("serving: {unknown: refuse, max_rows: 50}", "")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The portable forms of both small problems."""
    out = tmp_path_factory.mktemp("portable")
    return {name: (out / name, write_portable(bundle(name), out / name)) for name in ("shop", "people")}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A bundle with every encoding of categories, which takes unknown texts."""
    problem, columns = problem_files.loads(WIDE), members()
    plan, held = compile_plan(problem), np.arange(300) % 3 == 0
    state = fit_state(plan, columns, {}, ~held)
    X, y = transform(plan, state, columns), target_values(problem, columns)
    fitted = fit(problem, problem.candidates[0], {}, X[~held], y[~held], np.ones(int((~held).sum())), 5)
    model = export_model(Refit(fitted, None, [{"seed": 5, "score": 0.1}]), state.names)
    inputs = people().holdout.inputs
    holdout = Holdout(np.ascontiguousarray(X[held]), inputs, y[held])
    folder = tmp_path_factory.mktemp("wide") / "bundle"
    write_bundle(folder, problem, model, state, holdout, people().papers, signed=False)
    return folder


def predict(path, inputs):
    return onnxruntime.InferenceSession(path).run(["prediction"], inputs)[0]


def test_a_problem_with_history_takes_features_and_the_contract_tells_how_each_is_made(folders):
    folder, found = folders["shop"]
    assert (found.inputs, found.parity.largest_difference, found.parity.rows) == ("features", 0.0, 84)
    assert found.why == "feature 'opening_hour' is made of a joined or derived column"
    contract = json.loads((folder / "contract.json").read_text())
    features = {feature["name"]: feature for feature in contract["features"]}
    assert list(features) == list(Bundle.load(bundle("shop")).state.names)
    assert [feature["position"] for feature in contract["features"]] == list(range(len(features)))
    assert features["units_lag_7d"]["delay"] == 7
    assert features["units_lag_7d"]["by"] == ["store"]
    assert features["store"]["values"] == {"north": 0, "south": 1, "östlich": 2}
    assert features["store"]["unknown"] == 3
    assert contract["derived"] == {"opening_hour": "hour(opened)"}
    assert contract["step_seconds"] == 86400
    assert not (folder / "rows-model.onnx").exists()
    hashes = json.loads((folder / "portable.json").read_text())["sha256"]
    assert set(hashes) == {path.name for path in folder.iterdir()} - {"portable.json"}
    for name, digest in hashes.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_the_sample_is_enough_to_test_with(folders):
    for name in ("shop", "people"):
        folder = folders[name][0]
        sample = json.loads((folder / "sample.json").read_text())
        X = np.array(sample["features"], dtype=np.float32)
        trained = np.load(bundle(name) / "holdout" / "features.npy")[:SAMPLE_ROWS]
        assert X.tobytes() == trained.tobytes()
        outputs = {"prediction": "model.onnx", "quantile": "model-quantile.onnx"}
        for output, file in outputs.items():
            if output in sample:
                expected = np.array(sample[output])
                off = np.abs(predict(folder / file, {"features": X}) - expected)
                assert (off / np.maximum(1, np.abs(expected))).max() <= 1e-5
        schema = json.loads((folder / "features.schema.json").read_text())
        row = dict(zip(schema["properties"], sample["features"][0], strict=True))
        jsonschema.Draft202012Validator(schema).validate(row)
    assert "quantile" in json.loads((folders["shop"][0] / "sample.json").read_text())


def test_the_readme_of_each_runs_as_it_stands(folders):
    for name, prints in (("shop", 1), ("people", 2)):
        folder = folders[name][0]
        blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-P", "-c", "\n".join(blocks)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "True\n" * prints


def test_rows_fold_in_exactly_with_every_encoding_nulls_and_unseen_texts(wide, tmp_path):
    found = write_portable(wide, tmp_path / "out")
    assert (found.inputs, found.why, found.parity.largest_difference) == ("rows", "", 0.0)
    loaded, path = Bundle.load(wide), tmp_path / "out" / "rows-model.onnx"
    rows = [
        {"age": age, "plan": plan, "note": note}
        for age in (0, 33, 120)
        for plan in ("basic", "plus", "old", "nobody knows", "", "östlich")
        for note in (None, "a\u2028b", "unseen", 'says "x"', "new\nline")
    ]
    expected = loaded.predict_rows(rows)["prediction"]
    assert predict(path, row_inputs(loaded, rows)).astype(np.float64).tolist() == expected.tolist()
    # the features themselves, to the bit
    made = onnx.load(path)
    made.graph.output.append(onnx.helper.make_tensor_value_info("features", 1, [None, None]))
    session = onnxruntime.InferenceSession(made.SerializeToString())
    X = session.run(["features"], row_inputs(loaded, rows))[0]
    assert X.tobytes() == loaded.features(loaded.columns(rows)).tobytes()


def test_numbers_too_large_for_float32_are_no_value_as_in_training(wide):
    loaded = Bundle.load(wide)
    model = onnx.load_from_string(fold(loaded, (wide / "model.onnx").read_bytes()))
    model.graph.output.append(onnx.helper.make_tensor_value_info("features", 1, [None, None]))
    inputs = row_inputs(loaded, [{"age": 10**300, "plan": "old", "note": None}])
    X = onnxruntime.InferenceSession(model.SerializeToString()).run(["features"], inputs)[0]
    assert np.isnan(X[0, 0])


def test_a_row_that_only_looks_like_null_is_why_rows_are_left_out(wide):
    loaded = Bundle.load(wide)
    assert why_not(loaded) == ""
    words = loaded.state.vocabularies["note_frequency"]
    object.__setattr__(words, "texts", (*words.texts, NULL_TEXT))
    assert why_not(loaded) == f"'{NULL_TEXT}' is a value of 'note'"


def test_probes_set_each_field_to_null_and_to_an_unseen_text_where_it_may_be(wide):
    probes = probe_inputs(Bundle.load(wide), holdout_rows(wide))
    assert sum(probe["note"] is None for probe in probes) >= 5
    assert sum(probe["plan"] == "" for probe in probes) == 5
    assert not any(probe["plan"] is None or probe["age"] is None for probe in probes)
    strict = probe_inputs(Bundle.load(bundle("people")), holdout_rows(bundle("people")))
    assert {probe["plan"] for probe in strict} <= {"basic", "plus", "old"}  # it refuses unknown ones


def test_a_model_that_predicts_something_else_is_not_handed_out(tmp_path):
    folder = copy("people", tmp_path / "bundle")
    judged = np.load(folder / "holdout" / "prediction.npy")
    judged[5] += np.float32(1e-4)
    np.save(folder / "holdout" / "prediction.npy", judged)
    write_manifest(folder, format="1", problem="people")
    with pytest.raises(GateRejected, match=r"prediction of holdout row 5 is off by 0\.0001"):
        write_portable(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_javascript_of_the_readme_is_javascript(folders, tmp_path):
    text = (folders["shop"][0] / "README.md").read_text()
    script = tmp_path / "example.mjs"
    script.write_text(re.findall(r"```js\n(.*?)```", text, re.DOTALL)[0])
    assert subprocess.run(["node", "--check", str(script)], check=False).returncode == 0


def test_what_is_no_plain_number_or_text_is_left_to_the_contract():
    cases = [
        (
            "shop",
            SHOP.replace(", opening_hour]", "]"),
            "feature 'day_day_of_week' needs a history or a calendar",
        ),
        (
            "people",
            PEOPLE.replace("{kind: columns, columns: [age]}", "{kind: category, columns: [age]}"),
            "feature 'age' takes integer values as a category",
        ),
    ]
    for name, text, told in cases:
        loaded = Bundle.load(bundle(name))
        object.__setattr__(loaded, "plan", compile_plan(problem_files.loads(text)))
        assert why_not(loaded) == told
