"""The hash of a table's content: the same rows give the same digest however they are cut."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.tables.content import ContentDigest

SCHEMA = {
    "n": pl.Int64, "x": pl.Float64, "t": pl.String, "b": pl.Boolean, "d": pl.Date, "s": pl.Datetime("us")
}  # fmt: skip
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(),
        st.none() | st.text(max_size=6),
        st.none() | st.booleans(),
        st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)),
        st.none() | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)),
    ),
    max_size=30,
)


def digest(*frames):
    found = ContentDigest()
    found.update(pl.DataFrame(schema=SCHEMA))
    for frame in frames:
        found.update(frame)
    return found.hexdigest()


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@settings(deadline=None, max_examples=50)
@given(ROWS, st.lists(st.integers(0, 30), max_size=4))
def test_batches_do_not_matter(rows, cuts):
    whole = frame(rows)
    ends = [*sorted(min(cut, whole.height) for cut in cuts), whole.height]
    parts = [whole[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert digest(*parts) == digest(whole) == digest(pl.concat(parts, rechunk=False))


@settings(deadline=None, max_examples=50)
@given(ROWS, ROWS)
def test_other_rows_give_another_digest(a, b):
    # NaN equals NaN here, and -0.0 is not 0.0: what is told apart is what is stored.
    stored = [[(*map(repr, row),) for row in rows] for rows in (a, b)]
    assert (digest(frame(a)) == digest(frame(b))) == (stored[0] == stored[1])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"t": ["ab", "c"]}, {"t": ["a", "bc"]}),
        ({"t": ["", None]}, {"t": [None, ""]}),
        ({"n": [0, None]}, {"n": [None, 0]}),
        ({"n": [0, None]}, {"n": [0, 0]}),
        ({"b": [True, None]}, {"b": [True, False]}),
    ],
)
def test_nulls_and_edges_between_texts_count(a, b):
    found = []
    for values in (a, b):
        one = ContentDigest()
        one.update(pl.DataFrame(values))
        found.append(one.hexdigest())
    assert found[0] != found[1]


def test_names_and_types_count():
    found = set()
    for part in (pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]}), pl.DataFrame({"a": [1.0]})):
        one = ContentDigest()
        one.update(part)
        found.add(one.hexdigest())
    assert len(found) == 3
