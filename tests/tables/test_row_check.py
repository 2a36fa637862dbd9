"""The first pass over a table: types, bounds and allowed values, batch by batch."""

from datetime import date, datetime

import polars as pl
import pytest

from cd4ml.errors import ProblemError, SourceError
from cd4ml.problem import Column, Table
from cd4ml.tables.read import Batch
from cd4ml.tables.row_check import RowCheck, quarantine_schema, table_schema
from cd4ml.tables.rules import Roles, column_rules
from cd4ml.tables.writer import TableWriter, read_frames

NOW = datetime(2024, 6, 1, 12)


def checked(tmp_path, columns, *batches, roles=None, hashed=(), **table):
    contract = Table.model_validate({"file": "t.csv", "columns": columns, **table})
    check = RowCheck("t", contract, NOW, hashed, roles or Roles())
    with TableWriter(tmp_path / "t.parquet", table_schema(contract)) as writer:
        check.run((one if isinstance(one, Batch) else batch(one) for one in batches), writer)
        writer.finish()
    right = pl.concat([pl.DataFrame(schema=table_schema(contract)), *read_frames(tmp_path / "t.parquet")])
    return check, right


def batch(values):
    frame = pl.DataFrame(values)
    return Batch(frame, "t.csv", frame.height)


def aside(check):
    return pl.concat([pl.DataFrame(schema=quarantine_schema(check.table)), *check.quarantine]).rows()


def test_rows_are_counted_on_over_batches_and_the_first_example_is_told(tmp_path):
    check, right = checked(
        tmp_path,
        {"n": {"type": "integer", "max": 5}},
        {"n": ["1", "2"]},
        {"n": ["3", "9", "x"]},
        {"n": ["8"]},
    )
    assert right.to_series().to_list() == [1, 2, 3]
    assert aside(check) == [(4, "n: above 5", "9"), (5, "n: not a whole number", "x"), (6, "n: above 5", "8")]
    assert [(one.rows, one.detail) for one in check.report.anomalies] == [
        (1, "1 rows: not a whole number, first 'x' in row 5"), (2, "2 rows: above 5, first '9' in row 4")
    ]  # fmt: skip


def test_ragged_rows_keep_the_numbers_of_the_others_right(tmp_path):
    part = Batch(pl.DataFrame({"n": ["1", "x"]}), "t.csv", 4, [(0, ["1", "2"]), (2, [])])
    check, _ = checked(tmp_path, {"n": {"type": "integer"}}, {"n": ["7"]}, part)
    rows = sorted(aside(check))
    assert [(number, reason.partition(":")[0]) for number, reason, _ in rows] == [
        (2, "ragged"),
        (4, "ragged"),
        (5, "n"),
    ]
    assert check.report.rows_in == 5 and check.report.rows_accepted == 2


def test_a_null_where_nulls_are_allowed_breaks_no_rule(tmp_path):
    column = {"type": "category", "nulls": True, "allowed": ["a"]}
    check, right = checked(tmp_path, {"c": column}, {"c": [None, "a", "b"]})
    assert right.to_series().to_list() == [None, "a"] and check.report.reasons == {
        "c: not an allowed value": 1
    }


def test_warned_rows_stay(tmp_path):
    column = {"type": "integer", "min": 3, "severity": "warn"}
    check, right = checked(tmp_path, {"n": column}, {"n": ["1", "5"]})
    assert right.height == 2 and check.report.rows_quarantined == 0
    assert [(one.kind, one.severity, one.limit) for one in check.report.anomalies] == [
        ("INT_TYPE_SMALL_INT", "warn", 3)
    ]


def test_the_keys_of_right_rows_are_hashed_once(tmp_path):
    columns = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    check, _ = checked(tmp_path, columns, {"a": ["1", "x", "1"], "b": ["2", "2", "2"]}, hashed=[["a", "b"]])
    hashes = check.key_hashes(0)
    assert len(hashes) == 2 and hashes[0] == hashes[1]
    assert len(check.key_hashes(0)) == 0


def test_a_column_that_one_of_several_files_lacks_is_told_once(tmp_path):
    other = Batch(pl.DataFrame({"x": ["1"], "n": ["2"]}), "b.csv", 1)
    lacking = Batch(pl.DataFrame({"m": ["1"]}), "c.csv", 1, hint="; is the delimiter right?")
    check, right = checked(tmp_path, {"n": {"type": "integer"}}, {"n": ["1"]}, other, lacking, lacking)
    assert [(one.kind, one.column) for one in check.report.anomalies] == [
        ("SCHEMA_NEW_COLUMN", "x"), ("SCHEMA_MISSING_COLUMN", "n"), ("SCHEMA_NEW_COLUMN", "m")
    ]  # fmt: skip
    assert check.report.anomalies[1].detail == (
        "expected the column 'n' in c.csv; found m; is the delimiter right?"
    )
    assert right.height == 2


def test_a_source_of_types_that_no_contract_knows_is_refused_in_one_line(tmp_path):
    nested = pl.DataFrame({"n": [[1], [2]]})
    with pytest.raises(SourceError, match=r"plain values in the column 'n'; found List\(Int64\)"):
        checked(tmp_path, {"n": {"type": "text"}}, nested)
    with pytest.raises(SourceError, match="read as the contract says; found") as caught:
        checked(tmp_path, {"n": {"type": "text"}}, {"n": [b"\xff\xfe"]})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "right", "wrong"),
    [
        ({"type": "timestamp", "max": "2024-03-01"}, "2024-03-01 23:59:59", "2024-03-02 00:00:00"),
        ({"type": "timestamp", "max": "2024-03-01T12:00:00"}, "2024-03-01 12:00:00", "2024-03-01 12:00:01"),
        ({"type": "timestamp", "min": "2024-03-01"}, "2024-03-01 00:00:00", "2024-02-29 23:59:59"),
        ({"type": "date", "max": "today"}, "2024-06-01", "2024-06-02"),
        ({"type": "timestamp", "max": "today"}, "2024-06-01 23:00:00", "2024-06-02 00:00:00"),
        ({"type": "date", "allowed": ["2024-01-01"]}, "2024-01-01", "2024-01-02"),
        ({"type": "boolean", "allowed": [True]}, "true", "false"),
        ({"type": "integer", "allowed": [1, 2]}, "2", "3"),
        ({"type": "category", "allowed": [1, 2]}, "2", "3"),
        ({"type": "number", "min": 0.5}, "0.5", "0.4999"),
    ],
)
def test_bounds_are_inclusive_and_in_the_columns_type(tmp_path, column, right, wrong):
    check, frame = checked(tmp_path, {"c": column}, {"c": [right, wrong]})
    assert frame.height == 1 and [row[0] for row in aside(check)] == [2]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"type": "category", "min": "a"}, "`min` belongs to numbers and dates; found it with category"),
        ({"type": "integer", "min": "one"}, "expected a whole number; found 'one'"),
        ({"type": "integer", "max": True}, "expected a whole number; found True"),
        ({"type": "boolean", "allowed": [1]}, "expected true or false; found 1"),
        (
            {"type": "date", "max": "tomorrow"},
            "expected a date such as 2017-08-15, or `today`; found 'tomorrow'",
        ),
    ],
)
def test_a_limit_that_is_not_of_the_columns_type_is_a_wrong_problem(column, message):
    with pytest.raises(ProblemError) as caught:
        list(column_rules("c", Column.model_validate(column), NOW, ("tables", "t", "columns", "c")))
    assert str(caught.value) == message and caught.value.path[:4] == ("tables", "t", "columns", "c")


@pytest.mark.parametrize(("kind", "day"), [("date", "2024-06-02"), ("timestamp", "2024-06-02 12:00:00")])
def test_facts_may_be_a_day_ahead_for_the_time_zones_and_no_more(tmp_path, kind, day):
    later = {"date": "2024-06-03", "timestamp": "2024-06-02 12:00:01"}[kind]
    roles = Roles(past=frozenset({"c"}))
    check, _ = checked(tmp_path, {"c": {"type": kind}}, {"c": [day, later]}, roles=roles)
    assert check.report.reasons == {"c: in the future": 1}
    (anomaly,) = check.report.anomalies
    assert (anomaly.kind, anomaly.limit[:10]) == ("DATE_TYPE_LATE", "2024-06-02")


def test_an_own_bound_replaces_the_one_on_the_future():
    column = Column.model_validate({"type": "date", "max": "2030-01-01"})
    rules = list(column_rules("c", column, NOW, (), Roles(past=frozenset({"c"}))))
    assert [rule.limit for rule in rules if rule.kind == "DATE_TYPE_LATE"] == [date(2030, 1, 1).isoformat()]
