"""The replay of a holdout, and the guard under which it runs."""

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cd4ml.adapters.manifest import write_manifest
from cd4ml.models.replay import ImportGuard, replay
from tests.models.bundles import bundle, copy


def resealed(folder: Path) -> Path:
    write_manifest(folder, format="1")
    return folder


def with_array(folder: Path, name: str, place: tuple[int, ...], value: float) -> Path:
    path = folder / "holdout" / f"{name}.npy"
    array = np.load(path)
    array[place] = value
    np.save(path, array)
    return resealed(folder)


@pytest.mark.parametrize("name", ["shop", "people"])
def test_a_whole_bundle_predicts_what_was_recorded_to_the_bit(name: str) -> None:
    found = replay(bundle(name))
    assert (found["identical"], found["max_abs"], found["detail"]) == (True, 0.0, "")
    assert found["rows"] == len(np.load(bundle(name) / "holdout" / "prediction.npy"))
    assert found["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize("output", ["prediction", "quantile"])
def test_a_prediction_that_differs_by_one_bit_is_not_identical(output: str, tmp_path: Path) -> None:
    folder = copy("shop", tmp_path / "bundle")
    value = np.load(folder / "holdout" / f"{output}.npy")[3]
    found = replay(with_array(folder, output, (3,), np.nextafter(value, np.float32(np.inf))))
    assert not found["identical"]
    assert 0 < found["max_abs"] < 1e-5
    assert found["detail"] == ""


def test_a_feature_that_differs_is_named_with_its_row_and_both_values(tmp_path: Path) -> None:
    found = replay(with_array(copy("shop", tmp_path / "bundle"), "features", (5, 2), 1234.5))
    assert not found["identical"]
    assert found["detail"].startswith("1 features differ, first 'visitors' of row 5: ")
    assert found["detail"].endswith("1234.5 in training")


def test_a_known_feature_where_training_had_none_is_a_difference(tmp_path: Path) -> None:
    found = replay(with_array(copy("shop", tmp_path / "bundle"), "features", (0, 2), np.nan))
    assert "nan in training" in found["detail"]


def test_the_guard_refuses_what_is_forbidden_with_all_below_it_and_nothing_else() -> None:
    guard = ImportGuard(frozenset({"polars"}))
    for name in ("polars", "polars.series"):
        with pytest.raises(ModuleNotFoundError, match="not among the libraries of the serving runtime"):
            guard.find_spec(name, None)
    assert guard.find_spec("polars_more", None) is None
    assert guard.find_spec("numpy", None) is None
    assert importlib.import_module("numpy") is np


def run_replay(folder: Path, forbidden: list[str]) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "cd4ml.models.replay", str(folder)],
        input=json.dumps({"forbidden": forbidden}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(io.StringIO(done.stdout).readline())


def test_as_a_process_it_says_in_one_line_which_library_is_missing() -> None:
    code, found = run_replay(bundle("people"), ["onnxruntime"])
    assert code == 0
    assert found["identical"] is False
    assert "onnxruntime is not among the libraries of the serving runtime" in str(found["detail"])


def test_as_a_process_it_says_in_one_line_that_the_bundle_was_altered(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "bundle")
    (folder / "model.onnx").write_bytes(b"another")
    found = run_replay(folder, [])[1]
    assert "'model.onnx' was changed" in str(found["detail"])
    assert found["max_abs"] is None
