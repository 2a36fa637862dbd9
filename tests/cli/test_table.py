"""Tables and bars in plain text."""

import pytest

from cd4ml.cli.table import cell, sparkline, table, whole


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (1234567, "1234567"),
        (0.123456, "0.1235"),
        (1e-9, "1e-09"),
        ("two\n lines", "two lines"),
        ("x" * 41, "x" * 39 + "…"),
        ("x" * 40, "x" * 40),
    ],
)
def test_a_cell_is_short_and_in_one_line(value, text):
    assert cell(value) == text


def test_a_whole_value_is_not_shortened():
    assert whole("x" * 64) == "x" * 64
    assert whole(["a", "b"]) == "['a', 'b']"
    assert whole(None) == whole("") == "-"
    assert whole(0) == "0"


def test_columns_are_aligned_and_lines_have_no_blanks_at_their_end():
    lines = table(("name", "n"), [("a", 1), ("longer", None)])
    assert lines == ["name    n", "a       1", "longer  -"]
    assert table(("id",), [("x" * 64,)], whole)[1] == "x" * 64
    assert table(("only", "headers"), []) == ["only  headers"]


def test_bars_go_from_the_lowest_to_the_highest():
    assert sparkline([0.0, 1.0, 0.5]) == "▁█▅"
    assert sparkline([2.0, 2.0]) == "▄▄"
