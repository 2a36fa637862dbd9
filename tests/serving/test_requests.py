"""Whatever a body holds, it is rows by the contract or a refusal with field, found and allowed."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.columns import CategoryArray
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.serving.requests import BadRequest, Limits, decode_v1, decode_v2
from tests.models.bundles import bundle, document

LIMITS = Limits(body_bytes=100_000)
AGE: dict[str, Any] = {"name": "age", "datatype": "INT64", "shape": [2], "data": [30, 40]}
PLAN: dict[str, Any] = {"name": "plan", "datatype": "BYTES", "shape": [2], "data": ["basic", "plus"]}


def people() -> Any:
    return document(bundle("people"), "contract.json")


def v2(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def refusal(body: bytes, protocol: str = "v1", **more: Any) -> BadRequest:
    decode = decode_v1 if protocol == "v1" else decode_v2
    with pytest.raises(BadRequest) as caught:
        decode(body, people(), LIMITS, **more)
    return caught.value


@pytest.mark.parametrize(
    ("body", "field", "found", "allowed"),
    [
        (b"", "", "no JSON: ", "JSON in UTF-8"),
        (b'{"instances": [{"age": NaN}]}', "", "", "JSON in UTF-8"),
        (b'{"instances": "\xff"}', "", "", "JSON in UTF-8"),
        (b"[" * 50_000, "", "", "JSON in UTF-8"),
        (b"[1]", "request", "a list", "a JSON object"),
        (b"{}", "instances", "no such field", "a list of objects with fields"),
        (b'{"instances": {}}', "instances", "an object", "a list of objects with fields"),
        (b'{"instances": [], "extra": 1}', "extra", "an unknown field", "instances"),
        (b'{"instances": []}', "", "0 rows", "from 1 to 50 rows"),
        (b'{"instances": [[1, 2]]}', "", "[1, 2]", "an object with fields"),
        (b'{"instances": [{"agee": 1}]}', "agee", "an unknown field", "age, note, plan"),
        (
            b'{"instances": [{"age": 1}]}',
            "plan",
            "no such field in the row",
            "a text, one of: basic, old, plus",
        ),
        (b'{"instances": [{"age": 1e400}]}', "", "", "JSON in UTF-8"),
        (b'{"instances": [{"age": "30", "plan": "old"}]}', "age", "'30'", "a whole number from 0 up to 120"),
        (
            b'{"instances": [{"age": 1e308, "plan": "old"}]}',
            "age",
            "1e+308",
            "a whole number from 0 up to 120",
        ),
        (b'{"instances": [{"age": true, "plan": "old"}]}', "age", "true", "a whole number from 0 up to 120"),
    ],
)
def test_v1_names_field_found_and_allowed(body: bytes, field: str, found: str, allowed: str) -> None:
    error = refusal(body)
    assert error.status == 400
    assert (error.field, error.allowed) == (field, allowed)
    assert found in error.found


def test_a_value_that_is_nested_too_deep_to_show_is_refused_all_the_same() -> None:
    deep = b"[" * 1000 + b"]" * 1000
    assert refusal(b'{"instances": [{"age": ' + deep + b', "plan": "old"}]}').field == "age"


@pytest.mark.parametrize(
    ("inputs", "field", "found"),
    [
        ([{**AGE, "name": "agee"}], "agee", "an unknown field"),
        ([{**AGE, "name": 7}], "name", "a number"),
        ([7], "inputs", "a number"),
        ([], "inputs", "an empty list"),
        ([AGE, AGE], "age", "two tensors of this name"),
        ([AGE, {**PLAN, "shape": [1], "data": ["old"]}], "plan", "1 rows"),
        ([{**AGE, "shape": [2, 2]}], "age", "the shape [2, 2]"),
        ([{**AGE, "shape": [-2]}], "age", "the shape a list"),
        ([{**AGE, "shape": "2"}], "age", "the shape a text"),
        ([{**AGE, "shape": []}], "age", "the shape []"),
        ([{**AGE, "shape": [10**9]}], "", "1000000000 rows"),
        ([{**AGE, "datatype": "BYTES"}], "age", "the datatype BYTES"),
        ([{**AGE, "datatype": []}], "age", "the datatype an empty list"),
        ([{**AGE, "data": [1]}], "age", "1 values"),
        ([{**AGE, "data": None}], "age", "null"),
        ([{**AGE, "data": [[1, 2]]}, PLAN], "age", "1 values"),
        ([{**AGE, "parameters": {"binary_data_size": 16}}], "age", "data as well"),
        ([AGE], "plan", "no such field in the row"),
    ],
)
def test_v2_names_field_and_found(inputs: list[Any], field: str, found: str) -> None:
    error = refusal(v2(*inputs), "v2")
    assert (error.field, error.found) == (field, found)
    assert error.allowed


def test_v2_takes_columns_of_shape_n_and_n_by_1() -> None:
    flat = decode_v2(v2(AGE, PLAN, id="a"), people(), LIMITS)
    tall = decode_v2(v2({**AGE, "shape": [2, 1], "data": [[30], [40]]}, PLAN), people(), LIMITS)
    assert np.array_equal(flat.columns["age"], tall.columns["age"])  # type: ignore[arg-type]
    assert (len(flat), flat.request_id, tall.request_id) == (2, "a", None)
    note = flat.columns["note"]
    assert isinstance(note, CategoryArray)
    assert note.codes.tolist() == [-1, -1]  # left out, as it may be null


def with_binary(*tails: bytes, sizes: list[Any] | None = None) -> tuple[bytes, int]:
    inputs = []
    for n, (tensor, tail) in enumerate(zip([AGE, PLAN], tails, strict=False)):
        size = len(tail) if sizes is None else sizes[n]
        inputs.append(
            {k: v for k, v in tensor.items() if k != "data"} | {"parameters": {"binary_data_size": size}}
        )
    head = v2(*inputs)
    return head + b"".join(tails), len(head)


NUMBERS = struct.pack("<2q", 30, 40)
TEXTS = b"\x05\0\0\0basic\x04\0\0\0plus"


def test_binary_tensors_are_read_as_json_ones() -> None:
    body, size = with_binary(NUMBERS, TEXTS)
    found, same = decode_v2(body, people(), LIMITS, size), decode_v2(v2(AGE, PLAN), people(), LIMITS)
    assert np.array_equal(found.columns["age"], same.columns["age"])  # type: ignore[arg-type]
    assert found.columns["plan"].categories == same.columns["plan"].categories  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("tails", "sizes", "field", "found"),
    [
        ([NUMBERS[:-1], TEXTS], None, "age", "15 bytes"),
        ([NUMBERS, TEXTS], [16, 999], "plan", "binary_data_size 999"),
        ([NUMBERS, TEXTS], [16, -1], "plan", "binary_data_size -1"),
        ([NUMBERS, TEXTS], [16, "18"], "plan", "binary_data_size 18"),
        ([NUMBERS, TEXTS + b"x"], [16, 17], "inputs", "1 bytes too many"),
        ([NUMBERS, b"\xff\xff\xff\xffab"], None, "plan", "6 bytes with 0 whole texts"),
        ([NUMBERS, b"\x01\0\0\0\xff\0\0\0\0"], None, "plan", "bytes that are no UTF-8"),
        ([NUMBERS, TEXTS + b"\0\0\0\0"], None, "plan", "21 bytes with 2 whole texts"),
    ],
)
def test_broken_binary_tensors_are_refused(
    tails: list[bytes], sizes: list[Any] | None, field: str, found: str
) -> None:
    body, size = with_binary(*tails, sizes=sizes)
    error = refusal(body, "v2", json_bytes=size)
    assert (error.field, error.found) == (field, found)


@pytest.mark.parametrize("size", [0, -1, 10**9])
def test_a_wrong_length_of_the_json_is_refused(size: int) -> None:
    assert refusal(v2(AGE, PLAN), "v2", json_bytes=size).field == "Inference-Header-Content-Length"


def test_limits_of_size_and_rows_have_a_status_of_their_own() -> None:
    assert refusal(b" " * 100_001).status == 413
    assert refusal(b" " * 100_001, "v2").status == 413
    rows = [{"age": 1, "plan": "old"}] * 3
    body = json.dumps({"instances": rows}).encode()
    with pytest.raises(BadRequest) as caught:
        decode_v1(body, people(), Limits(rows=2))
    assert (caught.value.status, caught.value.allowed) == (413, "from 1 to 2 rows")
    assert len(decode_v1(body, people(), Limits(rows=3))) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROW = st.fixed_dictionaries({}, optional=dict.fromkeys(("age", "plan", "note", "day"), JSON))
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["age", "plan", "note"]) | JSON,
        "datatype": st.sampled_from(["INT64", "BYTES", "FP64"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data": st.lists(JSON, max_size=3) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": JSON}) | JSON,
    },
)
BODY = (
    st.fixed_dictionaries({"instances": st.lists(ROW, max_size=3) | JSON})
    | st.fixed_dictionaries(
        {"inputs": st.lists(TENSOR, max_size=3) | JSON},
        optional={"outputs": JSON, "id": JSON, "parameters": JSON},
    )
    | JSON
)


@settings(deadline=None, max_examples=50)
@given(BODY, st.binary(max_size=40), st.none() | st.integers(-1, 400))
def test_no_body_raises_anything_but_a_refusal(body: Any, tail: bytes, size: int | None) -> None:
    text = json.dumps(body).encode()
    for call in (
        lambda: decode_v1(text, people(), LIMITS),
        lambda: decode_v2(text, people(), LIMITS),
        lambda: decode_v2(text + tail, people(), LIMITS, size),
        lambda: decode_v2(text + tail, people(), LIMITS, len(text)),
        lambda: decode_v1(tail, people(), LIMITS),
    ):
        try:
            rows = call()
        except BadRequest as error:
            assert 400 <= error.status < 500
            assert error.found and error.allowed and "\n" not in str(error)
        else:
            assert len(rows) > 0


def test_rows_as_the_holdout_has_them_are_taken_whole() -> None:
    rows = holdout_rows(bundle("shop"))
    shop = Bundle.load(bundle("shop"))
    found = decode_v1(json.dumps({"instances": rows}).encode(), shop.contract, Limits())
    assert np.array_equal(shop.features(found.columns), shop.features(shop.columns(rows)), equal_nan=True)
