"""The expression language: what it means, what null does, and what it refuses."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import ProblemError
from cd4ml.features.columns import texts
from cd4ml.features.expressions import Expression
from cd4ml.features.functions import FUNCTIONS
from tests.features.samples import column

COLUMNS = {
    "x": column("number", [1.0, -2.5, None, 4.0]),
    "n": column("integer", [1, 2, 3, 4]),
    "flag": np.array([True, False, True, False]),
    "city": column("category", ["Quito", None, "Manta", "quito"]),
    "state": column("text", ["Quito", "Quito", "Loja", None]),
    "date": column("date", ["2017-08-15", "2016-02-29", None, "2017-01-01"]),
    "time": column("timestamp", ["2017-08-15T13:05:00", None, "2017-08-15", "2016-12-31T23:59:59"]),
    "hours-per-week": column("integer", [40, 50, 60, 70]),
}
NULL = None


def _evaluate(text):
    value = Expression.parse(text).evaluate(COLUMNS)
    if not isinstance(value, np.ndarray):
        return texts(value)
    if value.dtype.kind == "M":
        return [None if np.isnat(item) else str(item) for item in value]
    return [None if math.isnan(item) else item for item in value.tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n + 1", [2, 3, 4, 5]),
        ("n - 1 - 1", [-1, 0, 1, 2]),
        ("n * -2", [-2, -4, -6, -8]),
        ("+n / 4", [0.25, 0.5, 0.75, 1]),
        ("7 // n", [7, 3, 2, 1]),
        ("7 % n", [0, 1, 1, 3]),
        ("n ** 2", [1, 4, 9, 16]),
        ("x + n", [2, -0.5, NULL, 8]),
        ("1 / (n - 1)", [NULL, 1, 0.5, 1 / 3]),  # what is not finite is null
        ("x ** 0.5", [1, NULL, NULL, 2]),
        ("flag + 0", [1, 0, 1, 0]),
        ("abs(x)", [1, 2.5, NULL, 4]),
        ("sqrt(x)", [1, NULL, NULL, 2]),
        ("log1p(n - 1)", [0, math.log(2), math.log(3), math.log(4)]),
        ("expm1(n - n)", [0, 0, 0, 0]),
        ("floor(x)", [1, -3, NULL, 4]),
        ("minimum(x, 2)", [1, -2.5, NULL, 2]),
        ("maximum(x, 2)", [2, 2, NULL, 4]),
        ("clip(n, 2, 3)", [2, 2, 3, 3]),
        ("fill(x, 0)", [1, -2.5, 0, 4]),
        ("fill(x, n)", [1, -2.5, 3, 4]),
        ("is_null(x)", [False, False, True, False]),
        ("is_null(n)", [False] * 4),
        ("is_null(city)", [False, True, False, False]),
        ("is_null('a') or is_null(x)", [False, False, True, False]),
        ("is_null(date)", [False, False, True, False]),
        ("where(n > 2, n, -n)", [-1, -2, 3, 4]),
        ("where(x > 0, 1, 0)", [1, 0, 0, 1]),
        ("where(flag, 'yes', 'no')", ["yes", "no", "yes", "no"]),
        ("where(flag, city, state)", ["Quito", "Quito", "Manta", NULL]),
        ("where(n > 0, 'one', 'two')", ["one"] * 4),
        ("year(where(flag, date, date + days(366)))", [2017, 2017, NULL, 2018]),
        ("fill(city, 'nowhere')", ["Quito", "nowhere", "Manta", "quito"]),
        ("lower(city)", ["quito", NULL, "manta", "quito"]),
        ("lower('ABC') == lower(city)", [False] * 4),
        ("column('hours-per-week') > 50", [False, False, True, True]),
    ],
)  # fmt: skip
def test_values_are_made_row_by_row(text, expected):
    found = _evaluate(text)
    assert found == [pytest.approx(value) if isinstance(value, float) else value for value in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 0", [1, 0, 0, 1]),
        ("x <= 1", [1, 1, 0, 0]),
        ("x < 1", [0, 1, 0, 0]),
        ("x >= 4", [0, 0, 0, 1]),
        ("x == x", [1, 1, 0, 1]),  # a comparison with null is false
        ("x != 4", [1, 1, 0, 0]),
        ("1 < n < 4", [0, 1, 1, 0]),
        ("1 < n <= 4 and not flag", [0, 1, 0, 1]),
        ("x > 0 or flag", [1, 0, 1, 1]),
        ("not x", [0, 0, 1, 0]),  # null is not true
        ("flag == True", [1, 0, 1, 0]),
        ("city == 'Quito'", [1, 0, 0, 0]),
        ("'Quito' == city", [1, 0, 0, 0]),
        ("city != 'Quito'", [0, 0, 1, 1]),
        ("city == state", [1, 0, 0, 0]),
        ("city != state", [0, 0, 1, 0]),
        ("city in ('Quito', 'Manta')", [1, 0, 1, 0]),
        ("city not in ['Quito']", [0, 0, 1, 1]),
        ("n in (1, 4)", [1, 0, 0, 1]),
        ("x in (1, -2.5)", [1, 1, 0, 0]),
        ("x not in (1, 9)", [0, 1, 0, 1]),
        ("'a' in ('a', 'b') and flag", [1, 0, 1, 0]),
        ("'a' < 'b' or flag", [1, 0, 1, 0]),
        ("date >= '2017-01-01'", [1, 0, 0, 1]),
        ("'2017-08-15' == date", [1, 0, 0, 0]),
        ("date != '2017-08-15'", [0, 1, 0, 1]),
        ("date in ('2016-02-29', '2017-01-01')", [0, 1, 0, 1]),
        ("time > '2017-08-15T13:00'", [1, 0, 0, 0]),
        ("time > date", [1, 0, 0, 0]),
        ("time - date > 0.5", [1, 0, 0, 0]),
    ],
)
def test_conditions_are_true_or_false_and_never_null(text, expected):
    found = Expression.parse(text).mask(COLUMNS)
    assert found.dtype == bool
    assert found.tolist() == [bool(value) for value in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hour(time)", [13, NULL, 0, 23]),
        ("day(date)", [15, 29, NULL, 1]),
        ("month(date)", [8, 2, NULL, 1]),
        ("year(date)", [2017, 2016, NULL, 2017]),
        ("day_of_week(date)", [1, 0, NULL, 6]),
        ("date + hours(n)", ["2017-08-15T01:00:00", "2016-02-29T02:00:00", NULL, "2017-01-01T04:00:00"]),
        ("days(x) + date", ["2017-08-16T00:00:00", "2016-02-26T12:00:00", NULL, "2017-01-05T00:00:00"]),
        ("date - hours(x)", ["2017-08-14T23:00:00", "2016-02-29T02:30:00", NULL, "2016-12-31T20:00:00"]),
        ("date - time", [-(13 * 60 + 5) / 1440, NULL, NULL, pytest.approx(1 / 86400)]),
    ],
)
def test_times_have_parts_and_move_by_durations(text, expected):
    assert _evaluate(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sales <", "cannot be read"),
        ("x = 1", "cannot be read"),
        ("x\0", "cannot be read"),
        ("(" * 300 + "x" + ")" * 300, "cannot be read"),
        ("-" * 150 + "x", "100 levels deep; found more, split it"),
        ("import os", "cannot be read"),
        ("__import__('os')", "unknown function '__import__'"),
        ("x.real", "column('its name')"),
        ("x[0]", "cannot contain `x[0]`; known: abs"),
        ("lambda: x", "cannot contain `lambda: x`"),
        ("[n for n in x]", "cannot contain"),
        ("x if n else 1", "where(condition, a, b)"),
        ("x & n", "write `and`"),
        ("x | n", "write `or`"),
        ("x ^ n", "cannot contain `x ^ n`"),
        ("~x", "cannot contain `~x`"),
        ("x is None", "for nulls write is_null(x)"),
        ("x == None", "expected a number or a quoted text; found `None`"),
        ("x == null", "unknown word 'null'; write is_null(x)"),
        ("flag == true", "unknown word 'true'; write True"),
        ("x in city", "`in` needs a list of values in brackets"),
        ("x in (n, 1)", "expected a number or a quoted text; found `n`"),
        ("city in (-'a',)", "expected a number or a quoted text"),
        ("log1q(x)", "unknown function 'log1q'; did you mean 'log1p'?"),
        ("zzz(x)", "unknown function 'zzz'; known: abs"),
        ("abs(x, n)", "abs() takes 1 value(s); found 2"),
        ("abs(value=x)", "cannot contain"),
        ("x.abs()", "cannot contain"),
        ("column(x)", "column() takes one quoted name"),
        ("x > 1j", "expected a number or a quoted text"),
        ("x > 1e999", "a number of ordinary size"),
        ("x > 1" + "0" * 400, "a number of ordinary size"),
        ("1 + 1", "`1 + 1` is the same in each row"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text, message):
    with pytest.raises(ProblemError) as caught:
        Expression.parse(text, ("derived", "y"))
    assert message in str(caught.value)
    assert caught.value.path == ("derived", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y + 1", "unknown column 'y'"),
        ("stat == 'a'", "unknown column 'stat'; did you mean 'state'?"),
        ("city + 1", "`+` does not fit text and number"),
        ("date + 1", "`+` does not fit time and number"),
        ("date + date", "`+` does not fit time and time"),
        ("days(1) - date", "`-` does not fit duration and time"),
        ("-city", "a sign needs numbers; found text"),
        ("log1p(date)", "log1p() needs numbers; found time"),
        ("hour(x)", "hour() needs a date or a time; found number"),
        ("lower(x)", "lower() needs text; found number"),
        ("city == 1", "`==` does not compare text with number"),
        ("city < 'a'", "`<` does not fit text"),
        ("city and flag", "expected something true or false; found text"),
        ("where(flag, 1, 'a')", "need two values of one type; found number and text"),
        ("days(n)", "a duration is not a value"),
        ("date > 'today'", "expected a date such as '2017-08-15'"),
        ("date > '2017-13-01'", "found '2017-13-01'"),
        ("date > '2017-08-15T00:00+02:00'", "expected a date such as"),
    ],
)
def test_what_does_not_fit_the_columns_is_refused(text, message):
    expression = Expression.parse(text, ("filters", 0, "drop"))
    with pytest.raises(ProblemError) as caught:
        expression.evaluate(COLUMNS)
    assert message in str(caught.value)
    assert caught.value.path == ("filters", 0, "drop")
    with pytest.raises(ProblemError):  # types alone are enough to find it
        expression.evaluate({name: value[:0] if isinstance(value, np.ndarray) else column("text", [])
                             for name, value in COLUMNS.items()})  # fmt: skip


def test_a_condition_must_be_true_or_false():
    with pytest.raises(ProblemError, match="must be true or false; found text"):
        Expression.parse("city").mask(COLUMNS)


def test_the_columns_of_an_expression_are_known():
    found = Expression.parse("log1p(x) + n * column('hours-per-week') > 3 and city in ('a',)")
    assert found.columns == {"x", "n", "city", "hours-per-week"}


def test_every_function_is_described():
    page = (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")
    assert [name for name in FUNCTIONS if f"{name}(" not in page] == []


def test_a_text_that_is_the_same_everywhere_has_one_value_a_row():
    assert _evaluate("where(n > 9, city, 'none')") == ["none"] * 4
    assert Expression.parse("where(n > 9, 'a', 'b')").evaluate({"n": np.empty(0)}).codes.shape == (0,)


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40), st.sampled_from("+-*/%"))
def test_arithmetic_is_pythons(pairs, operator):
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    found = Expression.parse(f"a {operator} b").evaluate({"a": left, "b": right})
    for a, b, value in zip(left.tolist(), right.tolist(), found.tolist(), strict=True):
        if operator in "/%" and b == 0:
            assert math.isnan(value)
            continue
        exact = {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1), "%": a % (b or 1)}[operator]
        assert math.isnan(value) if math.isinf(exact) else value == exact


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet="xnab()+-*/%<>=!'\" ,.[]1e_:&|", max_size=30))
def test_any_text_is_an_expression_or_a_problem_error(text):
    columns = {"x": np.ones(3), "n": np.zeros(3), "a": np.ones(3), "b": np.ones(3)}
    try:
        found = Expression.parse(text).evaluate(columns)
    except ProblemError as error:
        assert "\n" not in str(error)
    else:
        assert np.shape(found) in {(3,), ()}
