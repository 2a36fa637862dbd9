"""A model comes back from its files as it was, and other bytes are refused."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io

from cd4ml.errors import IntegrityError
from cd4ml.models.persist import (
    Model,
    dump_estimator,
    export_model,
    load_estimator,
    load_model,
    save_model,
)
from cd4ml.models.search import Refit
from tests.models.samples import NAMES
from tests.models.test_export import CASES, fitted_case


@pytest.fixture
def model(regression_rows) -> Model:
    repeats = [{"seed": 1, "score": 0.5}]
    parts = (fitted_case(regression_rows, "boosting"), fitted_case(regression_rows, "quantile"))
    return export_model(Refit(*parts, repeats), list(NAMES))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("case", CASES)
def test_an_estimator_of_every_family_comes_back_bit_by_bit(request, tmp_path, case):
    rows = request.getfixturevalue(f"{CASES[case][1]}_rows")
    found = fitted_case(rows, case)
    path = tmp_path / "estimator.skops"
    path.write_bytes(dump_estimator(found.estimator))
    again = load_estimator(path)
    inputs = rows.X.astype(np.float64)
    assert (again.predict(inputs) == found.estimator.predict(inputs)).all()
    assert dump_estimator(found.estimator) == path.read_bytes()


def test_a_model_with_a_quantile_comes_back_whole_in_the_same_bytes(model, regression_rows, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    save_model(tmp_path / "one", model)
    loaded = load_model(tmp_path / "one")
    save_model(tmp_path / "two", model)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert sorted(files(tmp_path / "one")) == [
        "estimator-quantile.skops",
        "estimator.skops",
        "model-quantile.onnx",
        "model.json",
        "model.onnx",
    ]
    assert (loaded.onnx, loaded.quantile_onnx, loaded.names) == (model.onnx, model.quantile_onnx, NAMES)
    assert loaded.repeats == model.repeats
    assert loaded.fitted.describe() == model.fitted.describe()
    X = regression_rows.X
    assert (loaded.fitted.predict(X) == model.fitted.predict(X)).all()
    assert (loaded.quantile.predict(X) == model.quantile.predict(X)).all()


def test_a_model_without_a_quantile_has_no_files_for_one(regression_rows, tmp_path):
    save_model(tmp_path, export_model(Refit(fitted_case(regression_rows, "ridge"), None, []), NAMES))
    assert sorted(files(tmp_path)) == ["estimator.skops", "model.json", "model.onnx"]
    assert load_model(tmp_path).quantile is None


class Stranger:
    """Not on the closed list."""


def test_a_type_that_is_not_on_the_closed_list_is_refused(tmp_path):
    path = tmp_path / "estimator.skops"
    path.write_bytes(skops.io.dumps({"a": Stranger()}))
    with pytest.raises(IntegrityError, match=r"estimator.skops holds types that are not allowed: .*Stranger"):
        load_estimator(path)


def test_damaged_bytes_are_refused_in_one_line(model, tmp_path):
    whole = dump_estimator(model.fitted.estimator)
    path = tmp_path / "estimator.skops"
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    del parts[min(name for name in parts if name.endswith(".npy"))]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    middle = len(whole) // 2
    flipped = (
        whole[:middle] + bytes([255 - byte for byte in whole[middle : middle + 50]]) + whole[middle + 50 :]
    )
    for damaged in (b"", b"nonsense", whole[:1000], flipped, buffer.getvalue()):
        path.write_bytes(damaged)
        with pytest.raises(
            IntegrityError, match=r"estimator.skops is no estimator that can be read"
        ) as caught:
            load_estimator(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "model.onnx").unlink(),
        lambda folder: (folder / "estimator.skops").unlink(),
        lambda folder: (folder / "model.json").write_text("{"),
        lambda folder: (folder / "model.json").write_text("[]"),
        lambda folder: (folder / "model.json").write_text(
            json.dumps(json.loads((folder / "model.json").read_text()) | {"model": {"famly": 1}})
        ),
    ],
)
def test_a_folder_that_is_no_model_is_refused_by_its_name(model, tmp_path, spoil):
    save_model(tmp_path, model)
    spoil(tmp_path)
    with pytest.raises(IntegrityError, match=f"the model in '{tmp_path.name}' cannot be read"):
        load_model(tmp_path)


def test_an_estimator_that_is_not_allowed_keeps_its_own_message(model, tmp_path):
    save_model(tmp_path, model)
    (tmp_path / "estimator.skops").write_bytes(skops.io.dumps({"a": Stranger()}))
    with pytest.raises(IntegrityError, match="types that are not allowed"):
        load_model(tmp_path)
