"""The runtime: it predicts what was judged, and refuses what is not whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair, sign
from cd4ml.errors import DataError, IntegrityError
from cd4ml.features.columns import take
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.models.session import feature_names, open_session, run
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, copy, people, shop

PRIVATE, PUBLIC = generate_keypair()


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield


def rewrite(folder: Path, name: str, data: bytes, **extra: Any) -> Path:
    """Change a file and write a fitting manifest, as one who means harm, or errs, would."""
    (folder / name).write_bytes(data)
    write_manifest(folder, **{"format": "1", **extra})
    return folder


def test_it_predicts_what_was_judged_to_the_bit() -> None:
    loaded = Bundle.load(bundle("shop"))
    expected = run(open_session(shop().model.onnx), shop().holdout.X)
    assert loaded.predict(shop().holdout.inputs).tobytes() == expected.tobytes()
    outputs = loaded.outputs(shop().holdout.inputs)
    assert outputs["prediction"].tobytes() == expected.tobytes()
    assert (outputs["quantile"] > outputs["prediction"]).mean() > 0.5
    assert loaded.quantile == 0.75


def test_one_row_alone_is_predicted_as_among_others() -> None:
    loaded, rows = Bundle.load(bundle("shop")), holdout_rows(bundle("shop"))
    together = loaded.predict_rows(rows)
    for place in range(0, len(rows), 7):
        alone = loaded.predict_rows([rows[place]])
        assert {name: values[0] for name, values in alone.items()} == {
            name: values[place] for name, values in together.items()
        }


def test_without_a_stock_decision_there_is_one_output() -> None:
    loaded = Bundle.load(bundle("people"))
    assert loaded.quantile is None
    found = loaded.outputs(people().holdout.inputs)
    assert set(found) == {"prediction"}
    assert ((found["prediction"] > 0) & (found["prediction"] < 1)).all()
    assert set(loaded.inputs) == {"age", "note", "plan"}


def test_no_rows_give_no_predictions() -> None:
    loaded = Bundle.load(bundle("shop"))
    assert loaded.predict(take(shop().holdout.inputs, slice(0, 0))).shape == (0,)


def test_wrong_rows_are_refused_by_row_and_field() -> None:
    row = holdout_rows(bundle("people"))[0]
    with pytest.raises(DataError, match="row 1: field 'plan' must be a text, one of: basic, old, plus"):
        Bundle.load(bundle("people")).predict_rows([row, {**row, "plan": "unheard of"}])


@pytest.mark.parametrize("name", ["model.onnx", "features/state.json", "contract.json", "problem.json"])
def test_an_altered_bundle_is_refused_by_the_files_name(name: str, tmp_path: Path) -> None:
    folder = copy("shop", tmp_path / "bundle")
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=f"'{name}' was changed"):
        Bundle.load(folder)


def test_verification_can_be_left_to_whoever_did_it_before(tmp_path: Path) -> None:
    folder = copy("shop", tmp_path / "bundle")
    (folder / "card.md").write_text("changed")
    assert Bundle.load(folder, verify=False).signature is None


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("model.onnx", b"no model", "expected an ONNX model"),
        ("model-quantile.onnx", b"no model", "expected an ONNX model"),
        ("problem.json", b"{}", "problem.json|validation error"),
        ("contract.json", b"{", "cannot be read"),
        ("features/state.json", b"{}", "features state"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line_under_a_fitting_manifest(
    name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    folder = rewrite(copy("shop", tmp_path / "bundle"), name, data)
    with pytest.raises(IntegrityError, match=message) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_is_refused_without_verification_too(tmp_path: Path) -> None:
    folder = copy("shop", tmp_path / "bundle")
    (folder / "model.onnx").unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        Bundle.load(folder, verify=False)


def test_a_model_of_another_training_is_refused(tmp_path: Path) -> None:
    other = (bundle("people") / "model.onnx").read_bytes()
    with pytest.raises(IntegrityError, match="not of one training"):
        Bundle.load(rewrite(copy("shop", tmp_path / "bundle"), "model.onnx", other))


def test_another_format_is_refused(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "bundle")
    with pytest.raises(IntegrityError, match=r"expected a bundle of format 1; .* has '2'"):
        Bundle.load(rewrite(folder, "card.md", b"", format="2"))


def test_where_a_key_is_configured_only_a_bundle_that_it_signed_is_loaded(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "bundle")
    unsigned = Bundle.load(folder).signature
    assert unsigned is not None
    assert unsigned.warning.startswith("UNSIGNED")
    with environment(**{VERIFY_KEY: PUBLIC}):
        with pytest.raises(IntegrityError, match="UNSIGNED"):
            Bundle.load(folder)
        assert Bundle.load(folder, own=True).id == Bundle.load(folder, verify=False).id
        with environment(**{SIGNING_KEY: PRIVATE}):
            sign(folder)
        signed = Bundle.load(folder).signature
    assert signed is not None
    assert signed.state == "valid"


def test_a_bundle_without_holdout_rows_says_so(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "bundle")
    (folder / "holdout" / "inputs.jsonl").write_bytes(b"\n")
    with pytest.raises(DataError, match="expected holdout rows"):
        holdout_rows(folder)
    (folder / "holdout" / "inputs.jsonl").unlink()
    with pytest.raises(DataError, match="expected holdout rows"):
        holdout_rows(folder)


def test_a_model_names_its_features() -> None:
    assert feature_names(open_session(people().model.onnx)) == list(people().state.names)
    assert json.loads((bundle("people") / "model.json").read_bytes())["names"] == list(people().state.names)


def test_many_rows_are_predicted_in_blocks_as_in_one() -> None:
    session = open_session(people().model.onnx, threads=2)
    X = np.tile(people().holdout.X, (700, 1))
    assert run(session, X).tolist() == run(session, people().holdout.X).tolist() * 700
