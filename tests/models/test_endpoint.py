"""The endpoint judge: rows of the holdout over HTTP, against a real server on loopback."""

import json
import socket

import numpy as np
import pytest

from cd4ml.errors import IntegrityError, ServiceError, UsageError
from cd4ml.models.endpoint import TOLERANCE, compare_endpoint
from cd4ml.models.runtime import holdout_rows
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, copy
from tests.models.live_server import serve

BOTH = pytest.mark.parametrize("protocol", ["v1", "v2"])


@pytest.fixture
def people():
    with serve(bundle("people")) as live:
        yield live


def spoilt(place, change):
    """Return what changes the prediction of one holdout row, wherever it is asked."""
    wrong = holdout_rows(bundle("people"))[place]

    def spoil(rows, outputs):
        found = [change(y) if r == wrong else y for r, y in zip(rows, outputs["prediction"], strict=True)]
        return {"prediction": found}

    return spoil


def first_place(place):
    """Return the first place at which a row like that of `place` stands."""
    rows = holdout_rows(bundle("people"))
    return rows.index(rows[place])


@BOTH
@pytest.mark.parametrize("name", ["shop", "people"])
def test_an_endpoint_that_serves_the_bundle_agrees_alone_and_in_batches(name, protocol):
    rows = len(holdout_rows(bundle(name)))
    with serve(bundle(name)) as live:
        found = compare_endpoint(live.url, bundle(name), protocol=protocol, batch_rows=32)
    assert found.agrees
    assert (found.rows, found.differing_rows, found.first) == (rows, 0, None)
    assert found.largest_difference < TOLERANCE
    assert found.outputs == (("prediction", "quantile") if name == "shop" else ("prediction",))
    counts = [count for _, count in live.asked]
    assert counts[:rows] == [1] * rows
    assert counts[rows:] == [32] * (rows // 32) + ([rows % 32] if rows % 32 else [])
    assert found.requests == len(counts)
    assert {path.split("/")[1] for path, _ in live.asked} == {protocol}
    assert "as they were judged" in found.sentence


def test_nulls_and_types_go_into_tensors_and_a_field_without_values_is_left_out():
    with serve(bundle("shop")) as live:
        compare_endpoint(live.url, bundle("shop"), protocol="v2", batch_rows=50)
        kinds = {tensor["name"]: tensor["datatype"] for tensor in live.tensors}
    expected = {"promoted": "BOOL", "price": "FP64", "visitors": "INT64", "weather": "BYTES", "day": "BYTES"}
    assert kinds.items() >= expected.items()
    rows = holdout_rows(bundle("shop"))
    assert any(row["price"] is None for row in rows)  # so a row alone has no such tensor


@BOTH
def test_one_wrong_row_is_named_with_what_was_judged_and_what_came(people, protocol):
    people.spoil = spoilt(40, lambda y: y + 2e-5)
    found = compare_endpoint(people.url, bundle("people"), protocol=protocol)
    assert not found.agrees
    assert found.first.row == first_place(40)
    assert (found.first.asked, found.first.output) == ("alone", "prediction")
    judged = float(np.load(bundle("people") / "holdout/prediction.npy")[found.first.row])
    assert found.first.expected == judged
    assert found.first.found == pytest.approx(judged + 2e-5, abs=1e-9)
    assert found.largest_difference == pytest.approx(2e-5, rel=0.01)
    assert f"First row {found.first.row}, asked alone: prediction was judged as" in found.sentence
    assert f"{found.differing_rows} of {found.rows}" in found.sentence


def test_a_difference_below_the_tolerance_is_none(people):
    people.spoil = spoilt(40, lambda y: y + 5e-6)
    found = compare_endpoint(people.url, bundle("people"))
    assert found.agrees
    assert found.largest_difference == pytest.approx(5e-6, rel=0.1)


def test_an_answer_that_hangs_on_the_place_in_a_batch_is_found(people):
    people.spoil = lambda _, outputs: {"prediction": sorted(outputs["prediction"])}
    found = compare_endpoint(people.url, bundle("people"), batch_rows=10)
    assert found.first.asked == "batch"
    assert found.differing_rows > 50
    assert ", asked in a batch: " in found.sentence


@pytest.mark.parametrize("wrong", [None, float("nan"), "0.5", 10**400])
def test_what_is_no_number_differs(people, wrong):
    people.spoil = spoilt(3, lambda _: wrong)
    found = compare_endpoint(people.url, bundle("people"))
    assert found.first.row == first_place(3)
    assert found.first.found is None
    assert "found no finite number" in found.sentence
    json.dumps(found.to_dict(), allow_nan=False)


def test_too_few_values_differ(people):
    people.spoil = lambda rows, outputs: {"prediction": outputs["prediction"][: max(1, len(rows) - 1)]}
    found = compare_endpoint(people.url, bundle("people"), batch_rows=20)
    assert (found.first.row, found.first.asked) == (0, "batch")
    assert "expected 20 values of 'prediction', one a row; found 19" in found.sentence


def test_an_output_that_was_judged_and_does_not_come_differs():
    with serve(bundle("shop")) as live:
        live.spoil = lambda _, outputs: {"prediction": outputs["prediction"]}
        found = compare_endpoint(live.url, bundle("shop"))
    assert (found.first.row, found.first.output) == (0, "quantile")
    assert "expected an output 'quantile'; found prediction" in found.sentence
    assert found.differing_rows == found.rows


@BOTH
def test_a_row_that_is_refused_differs_and_the_refusal_is_shown(tmp_path, people, protocol):
    strict = people.bundle.contract["inputs"]["properties"]["age"]
    highest = strict["maximum"]
    strict["maximum"] = 60
    found = compare_endpoint(people.url, bundle("people"), protocol=protocol, batch_rows=1)
    strict["maximum"] = highest
    rows = holdout_rows(bundle("people"))
    assert found.first.row == next(i for i, row in enumerate(rows) if row["age"] > 60)
    assert found.differing_rows == sum(row["age"] > 60 for row in rows)
    assert "refused, 400: " in found.sentence
    assert "field 'age' must be a whole number from 0 up to 60" in found.sentence


@pytest.mark.parametrize("path", ["/v1/models/people", "/v1/models/people/", "/v1/models/people:predict"])
def test_the_address_may_be_that_of_the_model(people, path):
    found = compare_endpoint(people.url + path, bundle("people"))
    assert found.agrees
    assert found.address == f"{people.url}/v1/models/people:predict"


def test_another_model_at_the_address_is_told_with_how_to_name_it(people):
    with pytest.raises(
        ServiceError, match=r"404: .*own address, such as http://localhost:8080/v2/models/NAME"
    ):
        compare_endpoint(f"{people.url}/v2/models/others", bundle("people"), protocol="v2")


def test_a_server_that_closes_kept_connections_is_asked_again(people):
    people.hang_up_after = 3
    found = compare_endpoint(people.url, bundle("people"))
    assert found.agrees
    assert found.requests == len(people.asked)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"<html>hello</html>", "found: <html>hello</html>. Is this the address of a model?"),
        (b'{"predictions": 3}', 'found: {"predictions": 3}'),
        (b'{"quantiles": [2]}', "expected an answer of v1"),
        (b'{"predictions": [1], "quantiles": 2}', "expected an answer of v1"),
        (b"[" * 100_000, "expected an answer of v1"),
        (b"\xff\x00" * 900, "expected an answer of v1"),
    ],
)
def test_an_answer_of_no_protocol_is_an_error_of_one_line(people, raw, told):
    people.raw = raw
    with pytest.raises(ServiceError) as caught:
        compare_endpoint(people.url, bundle("people"))
    assert told in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_an_answer_of_v2_without_lists_of_data_is_refused(people):
    people.raw = b'{"outputs": [{"name": "prediction", "data": 1}]}'
    with pytest.raises(ServiceError, match="expected an answer of v2"):
        compare_endpoint(people.url, bundle("people"), protocol="v2")


def test_an_error_of_the_server_is_no_difference(people):
    people.status = 503
    with pytest.raises(ServiceError, match="found 503"):
        compare_endpoint(people.url, bundle("people"))


def test_nobody_at_the_address_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServiceError, match=r"Connection refused\. Check the address"):
        compare_endpoint(f"http://127.0.0.1:{port}", bundle("people"))


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceError, match="timed out"):
            compare_endpoint(url, bundle("people"), timeout_seconds=0.05)


@pytest.mark.parametrize(
    ("url", "more", "told"),
    [
        ("localhost:8080", {}, "an address such as"),
        ("ftp://localhost", {}, "an address such as"),
        ("http://", {}, "an address such as"),
        ("http://localhost:port", {}, "an address such as"),
        ("http://localhost/a b", {}, "without blanks"),
        ("http://ann:secret@localhost", {}, "holds no user or password"),
        ("http://localhost/v2/models/people", {}, "is one of protocol v2"),
        ("http://localhost/v1/models/people:predict", {"protocol": "v2"}, "is one of protocol v1"),
        ("http://localhost", {"protocol": "v3"}, "protocol v1 or v2"),
        ("http://localhost", {"batch_rows": 51}, "batches of 1 to 50 rows"),
        ("http://localhost", {"batch_rows": 0}, "batches of 1 to 50 rows"),
        ("http://localhost", {"timeout_seconds": 0}, "more than 0 seconds"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(url, more, told):
    with pytest.raises(UsageError, match=told) as caught:
        compare_endpoint(url, bundle("people"), **more)
    assert "secret" not in str(caught.value)


@BOTH
def test_an_endpoint_that_says_it_serves_another_bundle_does_not_agree_and_that_comes_first(people, protocol):
    people.says = {"bundle": "ab" * 32}
    found = compare_endpoint(people.url, bundle("people"), protocol=protocol)
    assert found.first is None
    assert not found.agrees
    assert not found.to_dict()["agrees"]
    assert found.sentence.startswith(f"{found.address} says it serves bundle abababababab; expected ")
    people.says = {"bundle": found.bundle}
    assert compare_endpoint(people.url, bundle("people"), protocol=protocol).agrees


@pytest.mark.parametrize("says", [{"name": "m"}, {"bundle": 7}])
def test_an_endpoint_that_does_not_say_which_bundle_it_serves_is_judged_by_its_rows(people, says):
    people.says = says
    found = compare_endpoint(people.url, bundle("people"))
    assert found.agrees
    assert found.served == ""


def test_host_and_token_of_the_environment_go_along_and_are_told_nowhere(people):
    with environment(CD4ML_ENDPOINT_HOST="m.models.example.com", CD4ML_ENDPOINT_TOKEN="abc.def"):
        found = compare_endpoint(people.url, bundle("people"))
    assert len(people.headers) == found.requests + 1
    for headers in people.headers:
        assert headers["Host"] == "m.models.example.com"
        assert headers["Authorization"] == "Bearer abc.def"
    assert "abc.def" not in json.dumps(found.to_dict())


def test_a_token_that_would_be_two_headers_is_refused_and_not_shown(people):
    wrong = environment(CD4ML_ENDPOINT_TOKEN="abc\r\nX: y")
    with wrong, pytest.raises(UsageError, match="CD4ML_ENDPOINT_TOKEN") as caught:
        compare_endpoint(people.url, bundle("people"))
    assert "abc" not in str(caught.value)


def test_an_altered_bundle_judges_nothing(tmp_path, people):
    folder = copy("people", tmp_path / "bundle")
    np.save(folder / "holdout/prediction.npy", np.zeros(100, dtype=np.float32))
    with pytest.raises(IntegrityError, match=r"prediction\.npy"):
        compare_endpoint(people.url, folder)
    assert people.asked == []
