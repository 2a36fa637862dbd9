"""Rows of callers: each wrong one is refused by its field, with what was found and what is allowed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import DataError
from cd4ml.features.columns import CategoryArray, texts
from cd4ml.features.plan import compile_plan
from cd4ml.models.contract import build_contract
from cd4ml.models.rows import columns_from_rows, from_lines, rows_from_columns, to_lines
from tests.models.bundles import people, shop

ROW: dict[str, Any] = {
    "day": "2020-05-20",
    "store": "north",
    "promoted": True,
    "price": 3.5,
    "weather": "sun",
    "visitors": 12,
    "opened": "2020-05-20T08:00:00",
}
ABSENT = object()


def contract(**more: Any) -> dict[str, Any]:
    problem = shop().problem
    return build_contract(problem, compile_plan(problem).inputs) | more


def refusal(row: Any, **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        columns_from_rows(contract(**more), [ROW, row])
    text = str(caught.value)
    assert text.startswith("row 1: ")
    assert "\n" not in text
    return text.removeprefix("row 1: ")


def test_a_right_row_becomes_columns_of_the_declared_types() -> None:
    found = columns_from_rows(contract(), [ROW])
    assert found["day"].dtype == found["opened"].dtype == np.dtype("datetime64[s]")  # type: ignore[union-attr]
    assert found["visitors"].dtype == np.int64  # type: ignore[union-attr]
    assert isinstance(found["store"], CategoryArray)
    assert texts(found["store"]) == ["north"]
    assert np.asarray(found["promoted"]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("day", "20.5.2020", "must be a date such as 2017-08-16; found '20.5.2020'"),
        ("day", "2020-02-30", "must be a date such as 2017-08-16; found '2020-02-30'"),
        ("day", "2020-05-20T08:00", "must be a date such as 2017-08-16; found"),
        ("day", "20200520", "must be a date such as 2017-08-16; found"),
        ("day", 20200520, "must be a date such as 2017-08-16; found 20200520"),
        ("store", 7, "must be a text; found 7"),
        ("store", None, "must be a text; found null"),
        ("store", ABSENT, "must be a text; found no such field in the row"),
        ("store", ["north"], 'must be a text; found ["north"]'),
        ("promoted", 1, "must be true or false; found 1"),
        ("promoted", "true", "must be true or false; found 'true'"),
        ("price", "3.5", "must be a number from 0.5 up to 20 or null; found '3.5'"),
        ("price", True, "or null; found true"),
        ("price", 20.5, "must be a number from 0.5 up to 20 or null; found 20.5"),
        ("price", 0.4, "must be a number from 0.5 up to 20 or null; found 0.4"),
        ("price", float("nan"), "or null; found NaN"),
        ("price", float("inf"), "or null; found Infinity"),
        ("price", 10**400, "must be a number from 0.5"),
        ("weather", "Sun", "must be a text, one of: rain, sun or null; found 'Sun'; did you mean 'sun'?"),
        ("weather", "snow", "one of: rain, sun or null; found 'snow'"),
        ("visitors", 1.5, "must be a whole number from 0; found 1.5"),
        ("visitors", -1, "must be a whole number from 0; found -1"),
        ("visitors", True, "must be a whole number from 0; found true"),
        ("visitors", float("inf"), "must be a whole number from 0; found Infinity"),
        ("visitors", float("nan"), "must be a whole number from 0; found NaN"),
        ("visitors", 2**63, "must be a whole number from 0; found 9223372036854775808"),
        (
            "opened",
            "2020-05-20T08:00:00Z",
            "must be a time such as 2017-08-16T13:00:00 from 2019-01-01 up to",
        ),
        ("opened", "2020-05-20T08:00:00.5", "must be a time"),
        ("opened", "2020-W21-3", "must be a time"),
        ("opened", "2018-12-31T23:59:59", "from 2019-01-01 up to 2020-12-31 23:00:00; found '2018-12-31T"),
        ("opened", "2021-01-01", "from 2019-01-01 up to 2020-12-31 23:00:00; found '2021-01-01'"),
        ("opened", "2020-05-20\n", "must be a time such as"),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(field: str, value: Any, expected: str) -> None:
    row = {**ROW, field: value}
    if value is ABSENT:
        del row[field]
    found = refusal(row)
    assert found.startswith(f"field '{field}' must be ")
    assert expected in found


def test_an_unknown_field_is_named_with_the_nearest_and_all_that_there_are() -> None:
    found = refusal({**ROW, "visitor": 3})
    assert found.startswith("unknown field 'visitor'; did you mean 'visitors'?; expected day, opened, price")


def test_an_unknown_field_cannot_break_the_line_or_the_output() -> None:
    assert refusal({**ROW, "a\nb\ud800": 3}).startswith("unknown field 'a\\nb\\ud800'")


@pytest.mark.parametrize("row", [[1, 2], "text", None, 3])
def test_what_is_no_object_is_refused(row: Any) -> None:
    assert refusal(row).startswith("expected an object with fields; found ")


def test_a_value_that_cannot_be_shown_is_named_by_its_type_and_a_long_one_is_cut() -> None:
    assert refusal({**ROW, "store": {1, 2}}).endswith("found set")
    assert len(refusal({**ROW, "visitors": "x" * 100_000})) < 200


def test_a_number_for_a_listed_whole_number_is_refused_without_a_suggestion() -> None:
    listed = contract()
    listed["inputs"]["properties"]["visitors"]["enum"] = [1, 2, 12, *range(20, 40)]
    with pytest.raises(DataError, match=r"one of: 1, 2, 12, 20, .* and 11 more; found 'twelve'"):
        columns_from_rows(listed, [{**ROW, "visitors": "twelve"}])
    with pytest.raises(DataError, match="found 13"):
        columns_from_rows(listed, [{**ROW, "visitors": 13}])
    assert columns_from_rows(listed, [ROW])["visitors"].tolist() == [12]  # type: ignore[union-attr]


def test_listed_times_are_compared_as_times() -> None:
    listed = contract()
    listed["inputs"]["properties"]["opened"]["enum"] = ["2020-05-20 08:00"]
    columns_from_rows(listed, [ROW])
    with pytest.raises(DataError, match="'opened'"):
        columns_from_rows(listed, [{**ROW, "opened": "2020-05-20T09:00"}])


def test_null_and_a_missing_field_are_the_same_where_null_is_allowed() -> None:
    row = {key: value for key, value in ROW.items() if key not in ("price", "weather")}
    found = columns_from_rows(contract(), [row, {**ROW, "price": None, "weather": None}, ROW])
    assert np.isnan(np.asarray(found["price"])).tolist() == [True, True, False]
    assert texts(found["weather"]) == [None, None, "sun"]


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert columns_from_rows(contract(), [{**ROW, "visitors": 3.0}])["visitors"].tolist() == [3]  # type: ignore[union-attr]


def test_too_many_rows_and_none_are_refused() -> None:
    for rows in ([], [ROW] * 4):
        with pytest.raises(DataError, match=rf"expected from 1 to 3 rows; found {len(rows)}"):
            columns_from_rows(contract(max_rows=3), rows)


@pytest.mark.parametrize("case", [shop, people])
def test_rows_and_columns_become_each_other(case: Any) -> None:
    made = case()
    agreed = build_contract(made.problem, compile_plan(made.problem).inputs) | {"max_rows": 10**6}
    rows = rows_from_columns(agreed, made.holdout.inputs)
    again = columns_from_rows(agreed, from_lines(to_lines(rows)))
    assert rows_from_columns(agreed, again) == rows
    assert len(rows) == len(made.holdout.X)


def test_nulls_of_every_type_survive_the_way_back() -> None:
    kinds = ["integer", "number", "text", "boolean", "date", "timestamp"]
    fields = {kind: {"kind": kind, "nullable": True} for kind in kinds}
    agreed = {"inputs": {"properties": fields}, "max_rows": 9}
    rows = [
        dict.fromkeys(kinds),
        dict(zip(kinds, [2, 1.5, "a", False, "2020-01-02", "2020-01-02T03:04:05"], strict=True)),
    ]
    found = columns_from_rows(agreed, rows)
    assert rows_from_columns(agreed, found) == rows
    assert np.isnat(np.asarray(found["date"])).tolist() == [True, False]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        max_size=5,
    )
)
def test_any_text_survives_the_lines_of_a_file(rows: list[dict[str, str]]) -> None:
    assert from_lines(to_lines(rows)) == rows


def test_lines_that_others_wrote_end_at_line_feeds_alone() -> None:
    assert from_lines('{"a": "x\u2028y\u0085z"}\n\n{"a": "b"}') == [{"a": "x\u2028y\u0085z"}, {"a": "b"}]


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.sampled_from([*ROW, "strange"]),
)
def test_whatever_is_sent_becomes_columns_or_one_line(value: Any, field: str) -> None:
    try:
        columns_from_rows(contract(), [{**ROW, field: value}])
    except DataError as error:
        assert field in str(error)
        assert str(error).isprintable()
