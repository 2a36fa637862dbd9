"""An export says what the estimator says, in bytes that do not change."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from cd4ml.errors import Cd4mlError, UsageError
from cd4ml.models import export
from cd4ml.models.export import INPUT, OUTPUT, to_onnx
from cd4ml.models.fit import fit
from cd4ml.models.persist import dump_estimator
from cd4ml.models.session import open_session, run
from cd4ml.models.threads import usable_cores
from tests.models.samples import NAMES, candidate, make_problem, make_rows

PLAIN = {"column": "sold"}
CASES = {
    "boosting": ("gradient_boosting", "regression", {}, None),
    "poisson": ("gradient_boosting", "regression", {"loss": "poisson"}, None),
    "absolute error": ("gradient_boosting", "regression", {"loss": "absolute_error"}, None),
    "quantile": ("gradient_boosting", "regression", {}, 0.75),
    "forest": ("random_forest", "regression", {}, None),
    "ridge": ("ridge", "regression", {}, None),
    "boosting classes": ("gradient_boosting", "classification", {}, None),
    "forest classes": ("random_forest", "classification", {}, None),
    "logistic": ("logistic", "classification", {}, None),
}


def fitted_case(rows, case, target=None):
    family, task, changes, quantile = CASES[case]
    problem = make_problem(task) if target is None else make_problem(task, target=target)
    return fit(problem, candidate(family, **changes), {}, rows.X, rows.y, rows.weight, 1, quantile)


@pytest.fixture(params=CASES)
def case(request):
    return request.param


@pytest.fixture
def rows(request, case):
    return request.getfixturevalue(f"{CASES[case][1]}_rows")


@pytest.mark.parametrize("target", [None, PLAIN], ids=["given target", "plain target"])
def test_every_family_and_loss_predicts_the_same_through_onnx_runtime(rows, case, target):
    found = fitted_case(rows, case, target if CASES[case][1] == "regression" else None)
    served = run(open_session(to_onnx(found, NAMES)), rows.X)
    expected = found.predict(rows.X)
    assert np.ptp(expected) > 0.1
    assert np.abs(served - expected).max() <= 2e-6 * max(1, np.abs(expected).max())


def test_the_contract_is_float32_features_in_and_one_float32_prediction_a_row_out(rows, case):
    model = onnx.load_from_string(to_onnx(fitted_case(rows, case), NAMES))
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == (INPUT, OUTPUT) == ("features", "prediction")
    assert given.type.tensor_type.elem_type == made.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert given.type.tensor_type.shape.dim[1].dim_value == len(NAMES)
    assert json.loads(model.metadata_props[0].value) == list(NAMES)
    session = open_session(model.SerializeToString())
    for count in (1, 7):
        assert session.run(None, {INPUT: rows.X[:count]})[0].shape == (count,)


def test_two_exports_give_the_same_bytes(rows, case):
    found = fitted_case(rows, case)
    assert to_onnx(found, NAMES) == to_onnx(found, NAMES) == to_onnx(fitted_case(rows, case), NAMES)


def hashes():
    """Return the SHA-256 of both files of every case, fitted anew."""
    found = {}
    for name, (_, task, _, _) in CASES.items():
        fitted = fitted_case(make_rows(task), name)
        found[f"{name} onnx"] = hashlib.sha256(to_onnx(fitted, NAMES)).hexdigest()
        found[f"{name} skops"] = hashlib.sha256(dump_estimator(fitted.estimator)).hexdigest()
    return found


def test_a_fit_in_another_process_on_another_number_of_threads_gives_the_same_files():
    threads = "2" if usable_cores() == 1 else "1"
    code = "import json; from tests.models.test_export import hashes; print(json.dumps(hashes()))"
    environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert json.loads(done.stdout) == hashes()


def test_the_link_of_poisson_is_in_the_graph_and_the_minimum_is_kept(regression_rows):
    found = fitted_case(regression_rows, "poisson", {"column": "sold", "min": 5})
    model = onnx.load_from_string(to_onnx(found, NAMES))
    assert [node.op_type for node in model.graph.node].count("Exp") == 1
    served = run(open_session(model.SerializeToString()), regression_rows.X)
    assert served.min() == 5
    assert served.max() > 10


def test_names_must_be_those_of_the_features(regression_rows):
    with pytest.raises(UsageError, match="has 5 features; found 4 names"):
        to_onnx(fitted_case(regression_rows, "boosting"), NAMES[:4])


def test_an_estimator_with_categorical_features_is_refused(regression_rows):
    found = fitted_case(regression_rows, "boosting")
    found.estimator.set_params(categorical_features=[2]).fit(regression_rows.X[:300], regression_rows.y[:300])
    with pytest.raises(UsageError, match="categorical_features cannot be exported"):
        to_onnx(found, NAMES)


def test_a_model_too_large_for_one_file_is_refused(regression_rows):
    found = fitted_case(regression_rows, "forest")
    with pytest.raises(
        Cd4mlError, match=r"random_forest has .* GB, more than one file holds; lower n_estimators"
    ):
        to_onnx(found, NAMES, max_bytes=1000)


def test_a_hash_of_a_known_export_is_that_of_its_bytes(regression_rows):
    made = to_onnx(fitted_case(regression_rows, "ridge"), NAMES)
    again = export.onnx_bytes(onnx.load_from_string(made))
    assert hashlib.sha256(again).digest() == hashlib.sha256(made).digest()
