"""A model is made again from its snapshot; what is not the same is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cd4ml.adapters.installation import code_hash
from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from cd4ml.errors import IntegrityError, NotFoundError
from cd4ml.steps.reproduce import reproduce
from tests.adapters.s3_server import environment
from tests.steps.small_run import train

# The training is made once: all of its tests go to one worker.
pytestmark = pytest.mark.xdist_group("reproduce")


@dataclass(frozen=True)
class Trained:
    bundle: Path
    store: FolderStorage


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("run")
    train(folder, folder / "store")
    return Trained(folder / "bundle", FolderStorage(folder / "store"))


@pytest.fixture
def changed(trained: Trained, tmp_path: Path) -> Callable[..., Path]:
    """Return a copy of the bundle in which a JSON file says something else."""

    def change(file: str, **entries: object) -> Path:
        bundle = tmp_path / "changed"
        shutil.copytree(trained.bundle, bundle)
        path = bundle / file
        if file == "lineage.json":  # where several people work the code may have moved since the training
            entries = {"code_sha256": code_hash()} | entries
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))
        write_manifest(bundle, format="1", problem="bakery")
        return bundle

    return change


def test_the_same_bytes_come_out_of_the_recorded_parameters(trained: Trained, tmp_path: Path) -> None:
    lines: list[str] = []
    found = reproduce(trained.bundle, trained.store, tmp_path, progress=lines.append)
    assert found.same
    assert found.axes == ()
    assert found.largest_difference == 0
    assert [one.name for one in found.models] == ["model.onnx", "model-quantile.onnx"]
    assert (tmp_path / "model/model.onnx").read_bytes() == (trained.bundle / "model.onnx").read_bytes()
    assert lines[0].startswith("snapshot ")
    assert found.search is None


def test_the_same_winner_comes_out_of_the_whole_search(trained: Trained, tmp_path: Path) -> None:
    found = reproduce(trained.bundle, trained.store, tmp_path, search=True)
    assert found.same
    assert found.search is not None
    assert found.search.found == found.search.recorded
    assert found.to_dict()["search"]["name"] == "winner"


def other_parameters(bundle: Path) -> dict[str, object]:
    recorded = json.loads((bundle / "lineage.json").read_text())["parameters"]
    other = {"line": {"name": "trees", "family": "gradient_boosting", "parameters": {"max_iter": 3}}}
    swap = {"name": "line", "family": "ridge", "parameters": {"alpha": 99.0}}
    return {**recorded, **other.get(recorded["name"], swap)}


def test_other_parameters_than_the_recorded_ones_give_another_model(
    trained: Trained, changed: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = changed("lineage.json", parameters=other_parameters(trained.bundle))
    found = reproduce(bundle, trained.store, tmp_path / "work")
    assert not found.same
    assert not found.models[0].same
    assert found.axes == ()
    assert found.largest_difference is not None
    assert found.largest_difference > 0
    searched = reproduce(bundle, trained.store, tmp_path / "work", search=True)
    assert searched.models[0].same, "the search finds what the lineage does not tell"
    assert not searched.same


def test_other_versions_and_other_code_are_named(
    trained: Trained, changed: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = changed("versions.json", numpy="1.0")
    lineage = json.loads((bundle / "lineage.json").read_text())
    lineage |= {"code_sha256": "0" * 64, "lock_sha256": "1" * 64}
    (bundle / "lineage.json").write_text(json.dumps(lineage))
    found = reproduce(bundle, trained.store, tmp_path / "work")
    assert found.same, "they differ and do no harm"
    assert found.axes == ("versions", "code")
    assert [(one.name, one.recorded) for one in found.versions] == [("numpy", "1.0")]
    assert found.code[0].recorded == "0" * 64
    assert found.code[1].recorded == "c" * 40
    shutil.copy(trained.bundle / "versions.json", bundle)
    (only,) = reproduce(bundle, trained.store, tmp_path / "work").versions
    assert only.name.startswith("other libraries")


def test_other_features_are_named(trained: Trained, changed: Callable[..., Path], tmp_path: Path) -> None:
    problem = json.loads((trained.bundle / "problem.json").read_text())
    found = reproduce(
        changed("problem.json", features=problem["features"][:-1]), trained.store, tmp_path / "work"
    )
    assert not found.same
    assert "features" in [one.name for one in found.data]
    assert found.largest_difference is None
    assert found.to_dict()["differs"]["data"]


def test_other_values_of_features_and_another_count_of_rows_are_named(
    trained: Trained, changed: Callable[..., Path], tmp_path: Path
) -> None:
    data = json.loads((trained.bundle / "data.json").read_text())
    bundle = changed("data.json", rows={**data["rows"], "in": 7})
    features = np.load(bundle / "holdout/features.npy")
    features[2, 0] += 1
    np.save(bundle / "holdout/features.npy", features)
    found = reproduce(bundle, trained.store, tmp_path / "work")
    counted = {one.name: (one.recorded, one.found) for one in found.data}
    rows = len(features)
    assert counted["rows.in"] == (7, 240)
    assert counted["holdout rows with the recorded features and target"] == (rows, rows - 1)


def test_a_snapshot_that_is_gone_is_told(
    trained: Trained, changed: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="no whole snapshot"):
        reproduce(changed("lineage.json", snapshot="f" * 64), trained.store, tmp_path / "work")


def test_a_snapshot_that_was_changed_is_refused(trained: Trained, tmp_path: Path) -> None:
    store = FolderStorage(tmp_path / "store")
    shutil.copytree(trained.store.root, store.root)
    (key,) = [key for key in store.list("snapshots/") if key.endswith("/sales.parquet") and "quar" not in key]
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))
    with pytest.raises(IntegrityError, match=r"sales\.parquet"):
        reproduce(trained.bundle, store, tmp_path / "work")


def test_another_snapshot_in_its_place_is_refused(
    trained: Trained, changed: Callable[..., Path], tmp_path: Path
) -> None:
    store = FolderStorage(tmp_path / "store")
    identity = json.loads((trained.bundle / "lineage.json").read_text())["snapshot"]
    for key in trained.store.list(f"snapshots/{identity}"):
        store.put(key.replace(identity, "f" * 64), trained.store.get(key))
    with pytest.raises(IntegrityError, match="where the lineage names ffffffffffff"):
        reproduce(changed("lineage.json", snapshot="f" * 64), store, tmp_path / "work")


def test_a_bundle_that_does_not_say_how_it_was_made_is_refused(
    trained: Trained, changed: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match="which candidate won"):
        reproduce(changed("lineage.json", parameters={}), trained.store, tmp_path / "work")
    (tmp_path / "changed/lineage.json").write_bytes((trained.bundle / "lineage.json").read_bytes())
    (tmp_path / "changed/holdout/actual.npy").unlink()
    with pytest.raises(IntegrityError, match=r"holdout/actual\.npy"):
        reproduce(tmp_path / "changed", trained.store, tmp_path / "work")


def test_the_command_ends_with_0_for_the_same_model(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(CD4ML_STORE=str(trained.store.root)):
        assert main(["models", "reproduce", "bakery@1", "--out", str(tmp_path / "kept")]) == 0
        assert capsys.readouterr().out.splitlines()[0] == "bakery@1: the same, byte for byte"
        assert (tmp_path / "kept/model/model.onnx").is_file()
        assert main(["models", "reproduce", "bakery@1", "--out", str(tmp_path / "kept")]) == 2
        assert "--out must be a new or empty folder" in capsys.readouterr().err


def test_the_command_ends_with_3_and_says_what_differs(
    trained: Trained, changed: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = changed("lineage.json", parameters=other_parameters(trained.bundle), code_sha256="0" * 64)
    with environment(CD4ML_STORE=str(trained.store.root)):
        assert main(["models", "reproduce", str(bundle), "--search"]) == 3
        shown = capsys.readouterr()
        assert "NOT the same" in shown.out
        assert any(line.startswith("other  winner of the search") for line in shown.out.splitlines())
        assert "code differ from what made it" in shown.err
        assert main(["models", "reproduce", str(bundle), "--json"]) == 3
        found = json.loads(capsys.readouterr().out)
    assert found["same"] is False
    assert found["differs"]["code"][0]["name"] == "code (SHA-256)"


def test_the_command_points_to_the_machine_when_nothing_recorded_differs(
    trained: Trained, changed: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = changed("lineage.json", parameters=other_parameters(trained.bundle))
    with environment(CD4ML_STORE=str(trained.store.root)):
        assert main(["models", "reproduce", str(bundle)]) == 3
    assert "so the machine is left" in capsys.readouterr().err


def test_the_command_refuses_a_changed_bundle(trained: Trained, changed: Callable[..., Path]) -> None:
    bundle = changed("lineage.json")
    (bundle / "model.onnx").write_bytes(b"0")
    with environment(CD4ML_STORE=str(trained.store.root)):
        assert main(["models", "reproduce", str(bundle)]) == 4
