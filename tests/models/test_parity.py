"""The parity check passes right exports and catches wrong ones, also those that the holdout does not show."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper
from skl2onnx import to_onnx as plain_export
from skl2onnx.common.data_types import FloatTensorType

from cd4ml.errors import DataError
from cd4ml.models.export import INPUT, OPSETS, OUTPUT, to_onnx
from cd4ml.models.fit import LARGEST, Fitted, fit
from cd4ml.models.parity import Parity, check_parity, probe_rows
from cd4ml.models.session import open_session, run
from cd4ml.models.thresholds import floor_thresholds, split_values
from tests.models.samples import NAMES, Rows, candidate, make_problem
from tests.models.test_export import CASES, fitted_case

TOLERANCE = 1e-4


def bare(estimator):
    """Return what skl2onnx alone makes of an estimator, under the names of our contract."""
    model = plain_export(
        estimator, initial_types=[(INPUT, FloatTensorType([None, len(NAMES)]))], target_opset=OPSETS
    )
    (made,) = model.graph.output
    model.graph.node.append(helper.make_node("Flatten", [made.name], [OUTPUT + "_2d"], axis=1))
    model.graph.initializer.append(helper.make_tensor("flat", onnx.TensorProto.INT64, [1], [-1]))
    model.graph.node.append(helper.make_node("Reshape", [OUTPUT + "_2d", "flat"], [OUTPUT]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [None]))
    return model.SerializeToString()


def trained(rows, **parameters):
    """Return a boosting of skl's own, as anybody would fit it, and not floored."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=20, random_state=0, **parameters)
    model.fit(rows.X, rows.y)
    return Fitted(model, "gradient_boosting", "regression", parameters.get("loss", "squared_error"))


@pytest.mark.parametrize("case", CASES)
def test_a_right_export_passes(request, case):
    rows = request.getfixturevalue(f"{CASES[case][1]}_rows")
    found = fitted_case(rows, case)
    parity = check_parity(found, to_onnx(found, NAMES), rows.X[rows.role == 1])
    assert parity.max_rel < TOLERANCE / 10
    assert not parity.sampled
    assert parity.rows == 300 + parity.probes


def test_the_lost_exponential_of_poisson_in_skl2onnx_is_caught(regression_rows):
    found = trained(regression_rows, loss="poisson")
    parity = check_parity(found, bare(found.estimator), regression_rows.X)
    assert parity.max_rel > 1000 * TOLERANCE
    right = check_parity(found, to_onnx(found, NAMES), regression_rows.X[:, :])
    assert right.max_rel < parity.max_rel / 100


def test_the_wrong_splits_of_categorical_features_in_skl2onnx_are_caught(regression_rows):
    rows = replace(regression_rows, X=np.where(regression_rows.X < 0, 0, regression_rows.X))
    found = trained(rows, categorical_features=[2, 3])
    parity = check_parity(found, bare(found.estimator), rows.X)
    assert parity.max_rel > 100 * TOLERANCE


def test_thresholds_in_double_pass_on_the_holdout_and_are_caught_at_the_split_values():
    rng = np.random.Generator(np.random.PCG64(5))
    # Midpoints between few distinct values have a digit more than float32 holds.
    X = rng.choice(rng.normal(size=100).astype(np.float32), size=(2000, len(NAMES)))
    found = trained(Rows(X, 100.0 * (X[:, 0] > 0.3) + X[:, 1]), max_leaf_nodes=7)
    export = bare(found.estimator)
    parity = check_parity(found, export, X)
    assert np.abs(run(open_session(export), X) - found.predict(X)).max() < TOLERANCE
    assert parity.worst["kind"] == "probe"
    assert parity.max_rel > TOLERANCE
    assert parity.worst["value"] in split_values(found.estimator, len(NAMES))[parity.worst["feature"]]
    floor_thresholds(found.estimator)
    assert check_parity(found, bare(found.estimator), X).max_rel < TOLERANCE


def _without_missing(model_bytes):
    """Return the model with the side of missing values turned round."""
    model = onnx.load_from_string(model_bytes)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "nodes_missing_value_tracks_true":
                attribute.ints[:] = [1 - value for value in attribute.ints]
    return model.SerializeToString()


def test_a_wrong_side_for_missing_values_is_caught_though_no_holdout_row_has_one(regression_rows):
    found = fitted_case(regression_rows, "boosting")
    whole = regression_rows.X[~np.isnan(regression_rows.X).any(axis=1)]
    parity = check_parity(found, _without_missing(to_onnx(found, NAMES)), whole)
    assert parity.max_rel > TOLERANCE
    assert (parity.worst["kind"], parity.worst["value"]) == ("probe", None)


def test_a_wrong_prediction_for_one_row_in_the_holdout_is_found_with_its_place(regression_rows):
    found = fitted_case(regression_rows, "ridge")
    X = regression_rows.X.copy()
    X[250] = 1e6 * np.sign(found.estimator.named_steps["model"].coef_)
    cut = onnx.load_from_string(to_onnx(found, NAMES))
    clip = next(node for node in cut.graph.node if node.op_type == "Clip")
    limit = 1e6
    top = next(value for value in cut.graph.initializer if value.name == clip.input[2])
    top.CopyFrom(onnx.numpy_helper.from_array(np.array(limit), top.name))
    assert found.predict(X)[250] == LARGEST
    parity = check_parity(found, cut.SerializeToString(), X, max_probes=0)
    assert parity.worst["row"] == 250
    assert parity.worst["onnx"] == pytest.approx(limit)


def test_an_output_that_is_not_finite_is_the_worst_of_all(regression_rows):
    found = fitted_case(regression_rows, "ridge")
    model = onnx.load_from_string(to_onnx(found, NAMES))
    for value in model.graph.initializer:
        if value.name == "constant_1":
            value.CopyFrom(onnx.numpy_helper.from_array(np.full(len(NAMES), np.nan), value.name))
    parity = check_parity(found, model.SerializeToString(), regression_rows.X)
    assert parity.max_rel == np.finfo(np.float64).max


def test_probes_are_at_every_split_value_at_both_neighbours_at_none_and_beyond_the_seen(regression_rows):
    found, X = fitted_case(regression_rows, "boosting"), regression_rows.X
    probes, sampled = probe_rows(found, X)
    made = probes.matrix(X, 0, len(probes.base))
    changed = (made != X[probes.base]) & ~(np.isnan(made) & np.isnan(X[probes.base]))
    assert not sampled
    assert changed.sum(axis=1).max() == 1
    for index, splits in enumerate(split_values(found.estimator, X.shape[1])):
        tried = probes.value[probes.feature == index]
        for wanted in (splits, np.nextafter(splits, np.float32(9e9)), np.nextafter(splits, np.float32(-9e9))):
            assert np.isin(wanted, tried).all()
        assert np.isnan(tried).any()
        assert tried[~np.isnan(tried)].max() > np.nanmax(X[:, index])
        assert tried[~np.isnan(tried)].min() < np.nanmin(X[:, index])


def test_too_many_split_values_are_sampled_by_seed_and_it_is_said(regression_rows):
    found, X = fitted_case(regression_rows, "forest"), regression_rows.X
    few, sampled = probe_rows(found, X, seed=1, max_probes=50)
    again, _ = probe_rows(found, X, seed=1, max_probes=50)
    other, _ = probe_rows(found, X, seed=2, max_probes=50)
    assert sampled
    assert (few.value == again.value)[:50].all()
    assert (few.value != other.value)[:50].any()
    parity = check_parity(found, to_onnx(found, NAMES), X, max_probes=50)
    assert parity.sampled
    assert parity.to_dict()["probes"] == len(few.base) == 50 + 4 * 6 * len(NAMES)


def test_no_holdout_rows_are_refused(regression_rows):
    found = fitted_case(regression_rows, "ridge")
    with pytest.raises(DataError, match="parity needs holdout rows; found none"):
        check_parity(found, b"", regression_rows.X[:0])


def test_a_column_without_values_and_a_model_without_splits_are_checked_too():
    X = np.full((40, len(NAMES)), np.nan, np.float32)
    found = fit(make_problem(), candidate("gradient_boosting"), {}, X, np.ones(40), np.ones(40), 0)
    parity = check_parity(found, to_onnx(found, NAMES), X)
    assert isinstance(parity, Parity)
    assert parity.max_rel < TOLERANCE
