"""Documents that people write, with the line of each key."""

import json

import pytest

from cd4ml.adapters.document_lines import MAX_BYTES, decoded, dump_yaml, located, parse
from cd4ml.errors import ProblemError


def test_each_key_and_item_has_its_line():
    lines, document = parse("a: 1\nb:\n  - c: 2\n  - 3\n", "my.yaml", "`a`")
    assert document == {"a": 1, "b": [{"c": 2}, 3]}
    assert lines == {("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 0, "c"): 3, ("b", 1): 4}


def test_json_is_read_as_json_with_lines():
    text = '{\n\t"a": "\\ud83d\\ude00",\n\t"b": {"c": 1e3}\n}'
    lines, document = parse(text, "my.json", "`a`")
    assert document == json.loads(text) == {"a": "😀", "b": {"c": 1000.0}}
    assert (lines[("a",)], lines[("b", "c")]) == (2, 3)
    with pytest.raises(ProblemError, match=r"my.json:3: the key `a` is given twice"):
        parse('{"b": 1,\n "a": 2,\n "a": 3}', "my.json", "`a`")


def test_an_anchor_that_contains_itself_is_refused():
    with pytest.raises(ProblemError, match="an anchor contains itself"):
        parse("a: &x\n  b: *x\n", "my.yaml", "`a`")


def test_keys_of_a_merged_mapping_may_be_given_anew():
    text = "base: &x {a: 1, b: 2}\nmore:\n  <<: *x\n  a: 3\n"
    assert parse(text, "my.yaml", "`a`")[1]["more"] == {"a": 3, "b": 2}


def test_what_no_person_wrote_is_refused():
    with pytest.raises(ProblemError, match=f"at most {MAX_BYTES} bytes; found more. Is it a problem file"):
        decoded(b"x" * (MAX_BYTES + 1), "big.yaml", "problem file")
    assert decoded("\ufeffä".encode(), "small.yaml", "problem file") == "ä"


def test_an_error_names_the_line_of_the_nearest_key_that_is_there():
    error = located("expected a number", ("a", "b", 0), {("a",): 7}, "my.yaml")
    assert str(error) == "my.yaml:7: `a.b[0]`: expected a number"
    assert (error.line, error.path) == (7, ("a", "b", 0))
    assert str(located("wrong", (), {}, "my.yaml")) == "my.yaml: wrong"


def test_yaml_is_written_in_the_order_of_its_keys_and_quotes_what_some_reader_takes_for_no_text():
    text = dump_yaml({"b": ["yes", "1e5", "2012-12-01", "plain"], "a": {"x": None, "y": 0.5}})
    assert text == "b:\n  - 'yes'\n  - '1e5'\n  - '2012-12-01'\n  - plain\na:\n  x: null\n  y: 0.5\n"
