"""The trial of a contract: a bundle that keeps it passes, one that does not is found."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.manifest import write_manifest
from cd4ml.errors import DataError
from cd4ml.models.runtime import Bundle
from cd4ml.models.trial import contract_breaches, replay_rows
from tests.models.bundles import bundle, copy, document, people
from tests.models.test_bundle import strange_inputs

Contract = dict[str, Any]


def breaches(folder: Path) -> list[str]:
    return contract_breaches(Bundle.load(folder), replay_rows(folder))


def bent(name: str, folder: Path, bend: Callable[[Contract], None]) -> list[str]:
    """Return what is found in a bundle whose contract was changed after it was made."""
    copy(name, folder)
    contract = document(folder, "contract.json")
    bend(contract)
    (folder / "contract.json").write_text(json.dumps(contract))
    write_manifest(folder, format="1")
    return breaches(folder)


@pytest.mark.parametrize("name", ["shop", "people"])
def test_a_right_bundle_has_no_breach(name: str) -> None:
    assert breaches(bundle(name)) == []


def test_a_prediction_outside_of_the_promised_limits_is_found(tmp_path: Path) -> None:
    def bend(contract: Contract) -> None:
        contract["output"] |= {"minimum": 5, "maximum": 6}

    found = bent("shop", tmp_path / "bundle", bend)
    assert "a holdout row: the prediction is outside of its limits (5 to 6)" in found


def test_limits_are_compared_as_they_are_served(tmp_path: Path) -> None:
    """0.7 in float32 lies below 0.7: a prediction that was raised to it is within its limits."""
    lowest = float(
        Bundle.load(bundle("people")).predict_rows(replay_rows(bundle("people"))[:50])["prediction"].min()
    )
    assert np.float32(lowest) == lowest

    def bend(contract: Contract) -> None:
        contract["output"]["minimum"] = lowest + 1e-12

    assert bent("people", tmp_path / "bundle", bend) == []


def test_holdout_rows_that_serving_refuses_are_a_breach(tmp_path: Path) -> None:
    def bend(contract: Contract) -> None:
        contract["inputs"]["properties"]["price"]["maximum"] = 0.6

    found = bent("shop", tmp_path / "bundle", bend)
    assert found[0].startswith(
        "a holdout row was refused: row 0: field 'price' must be a number from 0.5 up to 0.6"
    )


def test_rows_that_were_left_out_are_a_breach_unless_unseen_values_are_to_be_refused(tmp_path: Path) -> None:
    people().changed(holdout=replace(people().holdout, inputs=strange_inputs())).write(tmp_path / "bundle")
    assert breaches(tmp_path / "bundle") == []

    def bend(contract: Contract) -> None:
        contract["unknown"] = "bucket"

    folder = tmp_path / "bundle"
    contract = document(folder, "contract.json")
    bend(contract)
    (folder / "contract.json").write_text(json.dumps(contract))
    write_manifest(folder, format="1")
    assert breaches(folder)[0].startswith("10 of 100 holdout rows are refused (field 'plan' must be")


class Loose(Bundle):
    """A bundle whose checks were forgotten: it predicts whatever comes."""

    def predict_rows(self, rows: Any) -> Any:
        return {"prediction": np.zeros(len(rows))}


class Mute(Bundle):
    """A bundle that refuses without a reason."""

    def predict_rows(self, rows: Any) -> Any:
        raise DataError("no")


class Odd(Bundle):
    """A bundle that answers in the wrong shape and without a number."""

    def predict_rows(self, rows: Any) -> Any:
        return {"prediction": np.full((len(rows), 1), np.nan)}


def as_a(kind: type[Bundle], name: str) -> list[str]:
    loaded = Bundle.load(bundle(name))
    values = {field: getattr(loaded, field) for field in loaded.__dataclass_fields__}
    return contract_breaches(kind(**values), replay_rows(bundle(name)))


def test_a_server_without_checks_is_found_for_every_field_and_kind_of_mistake() -> None:
    found = as_a(Loose, "shop")
    for expected in (
        "an unknown field 'no_such_field' was accepted",
        "a wrong type of 'promoted' was accepted",
        "a missing 'day' was accepted",
        "null in 'store' was accepted",
        "an unseen value of 'weather' was accepted",
        "too large a 'price' was accepted",
        "too small a 'visitors' was accepted",
        "0 rows were accepted; from 1 to 10000 are right",
        "10001 rows were accepted; from 1 to 10000 are right",
    ):
        assert expected in found
    assert not [line for line in found if "null in 'price'" in line]


def test_a_server_that_refuses_everything_is_found_too() -> None:
    found = as_a(Mute, "people")
    assert found[0] == "a holdout row was refused: no"
    assert "null in 'note' was refused: no" in found
    assert "a row without 'note' was refused: no" in found
    assert "a missing 'age' 'age' was refused without naming the field" not in found
    assert "a missing 'age' was refused without naming the field" in found


def test_a_prediction_without_a_number_or_of_another_shape_is_found() -> None:
    found = as_a(Odd, "people")
    assert "a holdout row: 50 rows gave the prediction in the shape (50, 1)" in found
    assert "a holdout row: the prediction is not finite" in found


@pytest.mark.parametrize("kind", ["integer", "number", "date", "timestamp", "boolean"])
def test_a_listed_value_of_every_kind_is_tried_with_another_one(kind: str) -> None:
    from cd4ml.models.rows import columns_from_rows
    from cd4ml.models.trial import _not_among

    right = {
        "integer": 3,
        "number": 2.5,
        "date": "2020-01-01",
        "timestamp": "2020-01-01T02:00",
        "boolean": True,
    }[kind]
    field = {"kind": kind, "nullable": True, "enum": [right, None]}
    contract = {"max_rows": 9, "inputs": {"properties": {"x": field}}}
    columns_from_rows(contract, [{"x": right}, {"x": None}])
    with pytest.raises(DataError, match=r"field 'x' must be .*one of"):
        columns_from_rows(contract, [{"x": _not_among(field)}])


def test_a_trial_needs_a_row() -> None:
    with pytest.raises(DataError, match="at least one row"):
        contract_breaches(Bundle.load(bundle("people")), [])
