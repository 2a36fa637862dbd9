"""Records of delimited text: found as Python's csv finds them, ragged ones apart."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.problem import Csv
from cd4ml.tables.records import find_records, split_records

CELL = st.text(st.sampled_from('ab ,;"\n#é'), max_size=5)


def written(rows, end="\n"):
    file = io.StringIO()
    csv.writer(file, lineterminator=end).writerows(rows)
    return file.getvalue().encode()


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(CELL, min_size=2, max_size=5), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"])
)
def test_fields_are_counted_as_the_csv_module_counts_them(rows, end):
    block = written(rows, end)
    found = find_records(block, Csv())
    expected = [len(row) for row in csv.reader(io.StringIO(block.decode(), newline=""))]
    assert [count for count in found.fields.tolist() if count] == expected
    assert found.starts[0] == 0 and found.ends[-1] == len(block)
    assert (found.starts[1:] == found.ends[:-1]).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(CELL, min_size=2, max_size=4), min_size=1, max_size=12))
def test_regular_and_ragged_records_are_all_of_them(rows):
    split = split_records(written(rows), Csv(), 3)
    assert split.rows == len(rows)
    assert [position for position, _ in split.ragged] == [i for i, row in enumerate(rows) if len(row) != 3]
    regular = list(csv.reader(io.StringIO(split.regular.decode(), newline="")))
    assert regular == [row for row in rows if len(row) == 3]


def test_blank_lines_and_comments_are_no_records():
    block = b"#a,b\n1,2\n\n3,4\r\n\r\n5\n#x"
    split = split_records(block, Csv(comment="#"), 2)
    assert split.regular == b"1,2\n3,4\r\n" and split.rows == 3
    assert split.ragged == [(2, ["5"])]


def test_a_block_of_right_records_is_not_copied():
    block = b"1,2\n3,4"
    assert split_records(block, Csv(), 2).regular is block


def test_a_block_of_ragged_records_leaves_nothing():
    split = split_records(b"1\n2\n", Csv(), 2)
    assert split.regular == b"" and [position for position, _ in split.ragged] == [0, 1]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(delimiter):
    block = f'1{delimiter}"2{delimiter}x"\n3\n'.encode()
    split = split_records(block, Csv(delimiter=delimiter), 2)
    assert split.ragged == [(1, ["3"])] and split.rows == 2
