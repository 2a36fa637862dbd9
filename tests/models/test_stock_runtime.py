"""A joblib for a stock runtime: made of known classes, scanned, and judged where it will be served."""

import json
import os
import pickle
import sys
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np
import pytest

from cd4ml.adapters.manifest import write_manifest
from cd4ml.errors import GateRejected, IntegrityError, UsageError
from cd4ml.models.persist import dump_estimator, load_estimator
from cd4ml.models.pickle_scan import ALLOWED, pickled_globals, scan_joblib
from cd4ml.models.stock_runtime import served_estimator, write_stock
from tests.models.bundles import bundle, copy
from tests.models.test_export import CASES, fitted_case

HERE = metadata.version("scikit-learn")


def served(estimator, task, X):
    """Return what sklearnserver answers, with PREDICT_PROBA for classification."""
    return estimator.predict_proba(X)[:, 1] if task == "classification" else estimator.predict(X)


@pytest.mark.parametrize("case", CASES)
def test_an_estimator_of_every_family_is_made_of_allowed_classes_and_predicts_on_its_own(
    request, tmp_path, case
):
    rows = request.getfixturevalue(f"{CASES[case][1]}_rows")
    fitted = fitted_case(rows, case)
    path = tmp_path / "model.joblib"
    path.write_bytes(pickle.dumps(served_estimator(fitted), protocol=4))
    assert set(scan_joblib(path)) <= ALLOWED
    again, expected = joblib.load(path), fitted.predict(rows.X)
    for X in (rows.X, rows.X.astype(np.float64)):
        off = np.abs(served(again, fitted.task, X) - expected) / np.maximum(1, np.abs(expected))
        assert off.max() < 1e-6


def test_the_allowed_names_are_all_needed(request):
    needed = set()
    for case in CASES:
        fitted = fitted_case(request.getfixturevalue(f"{CASES[case][1]}_rows"), case)
        needed |= pickled_globals(pickle.dumps(served_estimator(fitted), protocol=4))
    assert needed == ALLOWED


def test_an_estimator_from_the_bundle_gives_the_same_bytes_each_time(regression_rows, tmp_path):
    path = tmp_path / "estimator.skops"
    fitted = fitted_case(regression_rows, "boosting")
    path.write_bytes(dump_estimator(fitted.estimator))
    first, second = (
        pickle.dumps(served_estimator(type(fitted)(load_estimator(path), **fitted.describe())), protocol=4)
        for _ in range(2)
    )
    assert first == second


def test_a_stock_model_says_with_what_it_was_verified(tmp_path):
    found = write_stock(bundle("shop"), tmp_path / "out", scikit_learn=HERE)
    assert found == json.loads((tmp_path / "out" / "stock.json").read_text())
    assert found["scikit_learn"] == {"made_with": HERE, "wanted": f"=={HERE}", "verified_with": HERE}
    assert found["warnings"] == []
    assert 0 <= found["parity"]["largest_difference"] <= 1e-5
    assert found["parity"]["rows"] == 84
    assert sorted(found["sha256"]) == ["model.joblib", "quantile/model.joblib"]
    X = np.load(bundle("shop") / "holdout" / "features.npy")
    for output, place in (("prediction", "model.joblib"), ("quantile", "quantile/model.joblib")):
        judged = np.load(bundle("shop") / "holdout" / f"{output}.npy")
        assert np.abs(joblib.load(tmp_path / "out" / place).predict(X) - judged).max() < 1e-3
    assert found["environment"] == {}


def test_classification_needs_the_variable_that_makes_the_server_answer_probabilities(tmp_path):
    found = write_stock(bundle("people"), tmp_path / "out", python=Path(sys.executable))
    assert found["environment"] == {"PREDICT_PROBA": "true"}
    assert found["verified_in"] == "the environment of --python"
    assert found["parity"]["largest_difference"] <= 1e-5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, r"the runtime has scikit-learn ~=1\.5\.1 and this environment .* nobody can tell"),
        ({"scikit_learn": "1.0.2"}, r"the runtime has scikit-learn ==1\.0\.2"),
        ({"scikit_learn": "new"}, "expected a version such as"),
        ({"runtime": "sklearnserve"}, "did you mean 'sklearnserver'"),
        ({"python": Path("/no/python")}, "found no '/no/python'"),
        (
            {"python": Path(sys.executable), "scikit_learn": "1.0.2"},
            r"expected scikit-learn ==1\.0\.2 in the",
        ),
    ],
)
def test_a_runtime_of_another_version_is_refused(tmp_path, options, told):
    with pytest.raises(UsageError, match=told):
        write_stock(bundle("people"), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_python_may_be_given_by_a_relative_path(tmp_path):
    python = Path(os.path.relpath(sys.executable))
    assert not python.is_absolute()
    assert write_stock(bundle("people"), tmp_path / "out", python=python)["parity"]["rows"] == 100


def test_an_environment_that_cannot_load_the_model_is_refused_with_its_word(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: no sklearn here' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(GateRejected, match="cannot load and predict the model: ModuleNotFoundError"):
        write_stock(bundle("people"), tmp_path / "out", python=python)
    assert not (tmp_path / "out").exists()


def test_a_bundle_whose_estimator_is_another_than_was_judged_is_refused(tmp_path):
    folder = copy("people", tmp_path / "bundle")
    judged = np.load(folder / "holdout" / "prediction.npy")
    judged[17] += np.float32(1e-3)
    np.save(folder / "holdout" / "prediction.npy", judged)
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, format=manifest["format"], problem=manifest["problem"])
    with pytest.raises(GateRejected, match=r"prediction of holdout row 17 is off by 0\.001"):
        write_stock(folder, tmp_path / "out", scikit_learn=HERE)
    assert not (tmp_path / "out").exists()


class Evil:
    """Calls what it likes when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_is_named_and_refused_in_every_protocol(tmp_path, protocol):
    path = tmp_path / "model.joblib"
    path.write_bytes(pickle.dumps({"model": Evil()}, protocol=protocol))
    with pytest.raises(IntegrityError, match=r"'model.joblib' was refused: loading it would call .*\.system"):
        scan_joblib(path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"(S'echo'\nios\nsystem\n.", "the opcode INST"),
        (b"\x82\x01.", "the opcode EXT1"),
        (b"Pmodel\n.", "the opcode PERSID"),
        # names that are made while loading
        (b"\x80\x04\x8c\x02os\x94N\x93.", "cannot be told without running it"),
        (b"\x80\x04K\x01.\x80\x04K\x02.", "goes on after the end"),
        (b"\x80\x04K\x01", "walked to its end"),
        (b"no pickle at all", "walked to its end"),
        (b"\x80\x04h\x05.", "walked to its end"),  # a memo that nobody wrote
        (b"((R.", "a mark in place of a value"),
        (b"", "walked to its end"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, data, told):
    path = tmp_path / "model.joblib"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=told):
        scan_joblib(path)


def test_names_that_come_from_the_memo_are_seen(tmp_path):
    # "os" and "system" are put into the memo, thrown away and fetched again.
    data = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x9400h\x00h\x01\x93\x8c\x02id\x85R."
    assert pickled_globals(data) == {"os.system"}


def test_arrays_outside_of_the_pickle_as_joblib_writes_them_are_refused(tmp_path):
    joblib.dump({"model": np.arange(3.0)}, tmp_path / "model.joblib")
    with pytest.raises(IntegrityError, match="no pickle that can be walked to its end"):
        scan_joblib(tmp_path / "model.joblib")
