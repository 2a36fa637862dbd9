"""SeldonMessages and the model itself, without Seldon Core."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.errors import IntegrityError, UsageError
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.serving.answers import Answer, Unknown
from cd4ml.serving.requests import BadRequest
from cd4ml.serving.seldon import BundleModel
from cd4ml.serving.seldon_messages import (
    Labels,
    answer_message,
    metrics_of,
    read_columns,
    refusal_message,
)
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, copy

NUMBERS: dict[str, Any] = {
    "max_rows": 3,
    "inputs": {
        "properties": {
            "a": {"kind": "number", "nullable": False},
            "b": {"kind": "integer", "nullable": True},
        }
    },
}


@pytest.fixture(scope="module")
def model() -> Iterator[BundleModel]:
    with environment(CD4ML_VERIFY_KEY=None):
        yield BundleModel(bundle=str(bundle("shop")), name="shop", version="7", variant="shadow")


@pytest.mark.parametrize(
    ("message", "form"),
    [
        ({"jsonData": [{"a": 1.5, "b": 2}, {"a": 3}]}, "jsonData"),
        ({"data": {"names": ["b", "a"], "ndarray": [[2, 1.5], [None, 3]]}}, "ndarray"),
    ],
)
def test_rows_come_in_two_forms(message: dict[str, Any], form: str) -> None:
    columns, found = read_columns(message, NUMBERS)
    assert found == form
    assert np.asarray(columns["a"]).tolist() == [1.5, 3.0]
    b = np.asarray(columns["b"]).tolist()
    assert b[0] == 2
    assert math.isnan(b[1])


def test_a_tensor_is_read_row_by_row() -> None:
    tensor = {"shape": [2, 2], "values": [1.5, 2.0, 3.0, 4.0]}
    columns, form = read_columns({"data": {"names": ["a", "b"], "tensor": tensor}}, NUMBERS)
    assert form == "tensor"
    assert np.asarray(columns["a"]).tolist() == [1.5, 3.0]
    assert np.asarray(columns["b"]).tolist() == [2, 4]


def data(**parts: Any) -> dict[str, Any]:
    return {"data": {"names": ["a", "b"], **parts}}


@pytest.mark.parametrize(
    ("message", "field", "words"),
    [
        ([], "", "a SeldonMessage"),
        ({}, "", "either jsonData or data; found neither"),
        ({"jsonData": [], "data": {}}, "", "found data and jsonData"),
        ({"jsonData": "x"}, "jsonData", "a list of objects"),
        ({"jsonData": []}, "", "from 1 to 3 rows; found 0"),
        ({"jsonData": [{"a": 1}] * 4}, "", "from 1 to 3 rows; found 4"),
        ({"jsonData": [[1, 2]]}, "", "an object with fields"),
        ({"data": []}, "data", "an object with names"),
        (data(), "data", "ndarray or tensor"),
        (data(tftensor={}), "data", "ndarray or tensor; found names, tftensor"),
        ({"data": {"ndarray": [[1]]}}, "names", "found nothing"),
        ({"data": {"names": ["a", 1], "ndarray": [[1, 2]]}}, "names", "other than texts"),
        ({"data": {"names": ["b", "a", "b"], "ndarray": [[1, 2, 3]]}}, "names", "'b' twice"),
        (data(ndarray="x"), "ndarray", "found a text"),
        (data(ndarray=[[1, 2], [1]]), "ndarray", "2 values each, as there are names; found 1 values"),
        (data(ndarray=[[1, 2], 7]), "ndarray", "found a number"),
        (data(tensor=[1]), "tensor", "shape None and 0 values"),
        (data(tensor={"shape": [1, 2], "values": [1]}), "tensor", "shape [1, 2] and 1 values"),
        (data(tensor={"shape": [2, 1], "values": [1, 2]}), "tensor", "shape [rows, 2]"),
        (data(tensor={"shape": "[1, 2]", "values": [1, 2]}), "tensor", "shape [1, 2] and 2 values"),
        (data(tensor={"shape": [True, 2], "values": [1, 2]}), "tensor", "shape [True, 2]"),
        (data(ndarray=[["x", 1]]), "a", "row 0: field 'a' must be a number; found 'x'"),
    ],
)
def test_what_is_wrong_is_named(message: Any, field: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_columns(message, NUMBERS)
    assert refused.value.status == 400
    assert refused.value.field == field
    assert words in str(refused.value)


def answer(**outputs: list[float]) -> Answer:
    return Answer("m", "7", {name: np.array(values) for name, values in outputs.items()})


def test_answers_have_the_form_of_their_requests_and_null_for_what_is_not_finite() -> None:
    found = answer(prediction=[1.5, math.nan], decision=[1.0, 0.0])
    document = answer_message(found, "jsonData")["jsonData"]
    assert document["predictions"] == [1.5, None]
    assert document["decisions"] == [1, 0]
    wanted = {"names": ["prediction", "decision"], "ndarray": [[1.5, 1], [None, 0]]}
    assert answer_message(found, "ndarray") == {"data": wanted}
    tensor = answer_message(found, "tensor")["data"]["tensor"]
    assert tensor == {"shape": [2, 2], "values": [1.5, 1, None, 0]}
    json.dumps(document, allow_nan=False)


def test_unknown_values_stand_in_the_answer() -> None:
    unknown = (Unknown("store", ("x",), (0,), "a rare category"),)
    found = Answer("m", "7", {"prediction": np.array([1.0])}, unknown)
    assert answer_message(found, "jsonData")["jsonData"]["unknown"][0]["values"] == ["x"]


def test_a_refusal_carries_the_http_status() -> None:
    found = refusal_message(BadRequest(400, "a", "'x'", "a number", 2))
    assert (found["status"]["code"], found["status"]["status"]) == (400, "FAILURE")
    assert found["status"]["reason"] == "REFUSED"
    assert found["meta"]["tags"]["error"]["row"] == 2


@pytest.mark.parametrize(
    ("status", "outcome", "kind"),
    [(200, "ok", None), (400, "client_error", "malformed"), (500, "server_error", "internal")],
)
def test_each_request_is_counted_and_timed_once(status: int, outcome: str, kind: str | None) -> None:
    found = {item["key"]: item for item in metrics_of(Labels("m", "7", "canary"), "id", status, "", 0.25)}
    assert found["cd4ml_requests"]["value"] == 1
    assert found["cd4ml_requests"]["tags"]["outcome"] == outcome
    assert found["cd4ml_request_seconds"]["value"] == 250.0
    assert found["cd4ml_served_info"]["tags"]["bundle"] == "id"
    assert found.get("cd4ml_request_errors", {"tags": {"kind": None}})["tags"]["kind"] == kind
    assert {item["tags"]["variant"] for item in found.values()} == {"canary"}
    # Seldon writes into the labels: no two numbers may share them.
    assert len({id(item["tags"]) for item in found.values()}) == len(found)


def test_the_model_predicts_what_was_judged_and_says_who_it_is(model: BundleModel) -> None:
    rows = holdout_rows(bundle("shop"))[:5]
    found = model.predict_raw({"jsonData": rows, "meta": {"puid": "p"}})
    wanted = np.load(bundle("shop") / "holdout/prediction.npy")[:5]
    assert np.allclose(found["jsonData"]["predictions"], wanted, rtol=1e-5)
    assert found["meta"]["puid"] == "p"
    assert found["meta"]["tags"] == model.tags()
    assert model.tags()["variant"] == "shadow"
    assert model.class_names() == ["prediction", "quantile"]
    assert model.metrics()[0]["type"] == "GAUGE"
    assert model.health_status()["status"] == "ready"
    assert model.init_metadata()["custom"]["bundle"] == Bundle.load(bundle("shop")).id


def test_a_failure_inside_is_counted_and_tells_the_caller_nothing(tmp_path: Path) -> None:
    with environment(CD4ML_VERIFY_KEY=None):
        model = BundleModel(bundle=str(bundle("people")))

    class Rows(dict[str, Any]):
        """A message that cannot be read."""

        def __contains__(self, key: object) -> bool:
            raise RuntimeError("the inside")

    found = model.predict_raw(Rows())
    assert found["status"]["code"] == 500
    assert "inside" not in json.dumps(found)
    outcomes = [item["tags"].get("outcome") for item in found["meta"]["metrics"]]
    assert "server_error" in outcomes


def test_parameters_come_before_the_environment() -> None:
    names = {
        "CD4ML_BUNDLE": str(bundle("people")),
        "CD4ML_MODEL_VERSION": "9",
        "PREDICTOR_ID": "canary",
        "PREDICTIVE_UNIT_ID": "node",
        "PREDICTIVE_UNIT_IMAGE": "image:1",
        "CD4ML_VERIFY_KEY": None,
    }
    with environment(**names):
        told = BundleModel().tags()
        assert (told["model"], told["version"], told["variant"]) == ("node", "9", "canary")
        given = BundleModel(name="given", version="3", variant="shadow").tags()
        assert (given["model"], given["version"], given["variant"]) == ("given", "3", "shadow")
        row = holdout_rows(bundle("people"))[0]
        assert BundleModel().predict_raw({"jsonData": [row]})["meta"]["requestPath"] == {"node": "image:1"}


def test_a_version_that_is_a_number_is_a_text() -> None:
    number: Any = 7
    with environment(CD4ML_VERIFY_KEY=None):
        assert BundleModel(bundle=str(bundle("people")), version=number).tags()["version"] == "7"


def test_what_cannot_be_served_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected the folder of a bundle"):
        BundleModel(bundle=str(tmp_path / "nothing"))
    folder = copy("people", tmp_path / "bundle")
    with pytest.raises(UsageError, match="variant"), environment(CD4ML_VERIFY_KEY=None):
        BundleModel(bundle=str(folder), variant="a b")
    (folder / "contract.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"contract\.json"):
        BundleModel(bundle=str(folder))
