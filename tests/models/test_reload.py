"""The replay where only the libraries of the serve extra can be imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from cd4ml.adapters.manifest import write_manifest
from cd4ml.errors import Cd4mlError
from cd4ml.models.reload import forbidden_modules, replay_in_serving_runtime, requirement_closure
from tests.models.bundles import bundle, copy


def test_a_bundle_predicts_the_same_with_the_serving_libraries_alone() -> None:
    found = replay_in_serving_runtime(bundle("shop"))
    assert found.identical
    assert (found.max_abs, found.detail) == (0.0, "")
    assert found.to_dict()["rows"] == 84
    assert set(found.versions) == {"python", "numpy", "onnxruntime"}


def test_training_and_pipeline_libraries_are_forbidden_and_serving_ones_are_not() -> None:
    forbidden = set(forbidden_modules())
    assert {
        "polars",
        "duckdb",
        "sklearn",
        "skl2onnx",
        "skops",
        "onnx",
        "kfp",
        "pytest",
    } <= forbidden
    assert not {"numpy", "onnxruntime", "kserve", "pydantic", "cryptography", "cd4ml", "yaml"} & forbidden
    assert sorted(forbidden) == forbidden_modules()


def test_a_closure_follows_extras_and_ignores_what_is_not_installed() -> None:
    train, serve = requirement_closure("cd4ml", "train"), requirement_closure("cd4ml", "serve")
    assert "scikit-learn" in train
    assert "scikit-learn" not in serve
    assert "onnxruntime" in train & serve
    assert requirement_closure("no-such-distribution", "") == set()


def test_the_runtime_imports_neither_frames_nor_estimators() -> None:
    """Held by its imports, not by the guard: what is not loaded cannot be missing."""
    code = (
        "import sys; from pathlib import Path; from cd4ml.models.replay import replay;"
        f"assert replay(Path({str(bundle('shop'))!r}))['identical'];"
        "heavy = {'polars', 'duckdb', 'pandas', 'sklearn', 'skops', 'skl2onnx', 'onnx', 'cd4ml.tables'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_altered_bundle_is_said_and_not_raised(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "bundle")
    (folder / "contract.json").write_bytes(b"{}")
    found = replay_in_serving_runtime(folder)
    assert (found.identical, found.max_abs, found.rows) == (False, None, 0)
    assert "'contract.json' was changed" in found.detail


def test_a_file_in_the_current_folder_does_not_take_part(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a stranger')")
    code = (
        "import os; from pathlib import Path; from cd4ml.models.reload import replay_in_serving_runtime as r;"
        f"os.chdir({str(tmp_path)!r}); print(r(Path({str(bundle('people'))!r})).identical)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_replay_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(Cd4mlError, match=r"the replay of 'people' took longer than 0\.01 s"):
        replay_in_serving_runtime(bundle("people"), timeout_seconds=0.01)


def test_a_replay_that_dies_is_told_by_its_code_and_last_words(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "bundle")
    (folder / "holdout" / "inputs.jsonl").write_text("no JSON\n")
    write_manifest(folder, format="1")
    with pytest.raises(
        Cd4mlError, match=r"the replay of 'bundle' ended with code 1: json\.decoder\.JSONDecodeError"
    ):
        replay_in_serving_runtime(folder)
