"""Profiles: counts that agree with the rows, quantiles, categories, gaps, outliers, correlations."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cd4ml.adapters.storage import atomic
from cd4ml.tables.contract import check_tables
from cd4ml.tables.correlations import correlations
from cd4ml.tables.profile import profile_tables
from cd4ml.tables.sources import locate
from tests.tables.contract_samples import NOW, sales_rows, shop_problem, write_shop


@pytest.fixture
def profile(tmp_path):
    rows = sales_rows()
    rows = [row for row in rows if row[0] not in ("2024-01-10", "2024-01-11", "2024-02-01")]
    rows[0][2] = 999
    return profiled(tmp_path, shop_problem(), write_shop(tmp_path / "data", rows))["tables"]["sales"]


def profiled(folder, problem, data):
    check_tables(problem, locate(problem, data, folder), data, folder / "out", NOW)
    found = profile_tables(problem, folder / "out")
    assert found == json.loads(atomic.dumps(found)), "a profile is JSON"
    return found


def test_a_number_is_told_by_moments_quantiles_and_bars(profile):
    units = profile["columns"]["units"]
    values = [row[2] for row in sales_rows() if row[0] not in ("2024-01-10", "2024-01-11", "2024-02-01")]
    values[0] = 999
    assert (units["count"], units["nulls"], units["min"], units["max"]) == (171, 0, 0, 999)
    assert units["mean"] == pytest.approx(np.mean(values)) and units["median"] == np.median(values)
    assert units["distinct"] == len(set(values)) and units["outliers"] == 1
    bars = units["histogram"]
    assert sum(bars["counts"]) == sum(bars["quantile_counts"]) == 171
    assert bars["quantiles"][0] == 0 and bars["quantiles"][-1] == 999 and len(bars["quantiles"]) == 21
    assert (bars["edges"][0], bars["edges"][-1], len(bars["counts"])) == (0, 999, 30)


def test_a_category_is_told_by_its_most_frequent_values(profile):
    assert profile["columns"]["shop"]["top"] == [["A", 57], ["B", 57], ["C", 57]]
    assert profile["columns"]["shop"]["other"] == 0
    promoted = profile["columns"]["promoted"]
    absent = [row for row in sales_rows() if row[0] in ("2024-01-10", "2024-01-11", "2024-02-01")]
    assert promoted["nulls"] == sum((row[3] == "") - (row in absent and row[3] == "") for row in sales_rows())
    assert dict(promoted["top"]).keys() == {"true", "false"} and (promoted["min"], promoted["max"]) == (0, 1)


def test_a_date_is_told_by_its_ends_and_the_days_without_a_row(profile):
    day = profile["columns"]["day"]
    assert (day["min"], day["max"], sum(day["histogram"]["counts"])) == ("2024-01-01", "2024-02-29", 171)
    assert day["histogram"]["edges"][0] == "2024-01-01T00:00:00"
    assert profile["time"] == {
        "column": "day", "step_seconds": 86400, "first": "2024-01-01T00:00:00", "last": "2024-02-29T00:00:00",
        "expected_steps": 60, "missing_steps": 3, "longest_gap_steps": 2,
    }  # fmt: skip
    assert profile["gaps"] == [
        {"after": "2024-01-09T00:00:00", "steps": 2}, {"after": "2024-01-31T00:00:00", "steps": 1}
    ]  # fmt: skip


def test_a_table_without_a_date_has_no_gaps_and_few_numbers_no_correlations(tmp_path):
    shops = profiled(tmp_path, shop_problem(), write_shop(tmp_path / "data"))["tables"]["shops"]
    assert shops["time"] is None and shops["gaps"] == []
    assert shops["correlations"] == {"columns": [], "matrix": [], "target": {}}


def test_a_lookup_table_is_looked_at_by_days(tmp_path):
    def dated(document):
        document["tables"]["shops"]["columns"]["opened"] = {"type": "date", "nulls": True}

    data = write_shop(tmp_path / "data")
    (tmp_path / "data" / "shops.csv").write_text(
        "shop,city,size,opened\nA,Quito,1,2020-01-01\nB,Quito,2,2020-01-04\nC,Quito,3,\n"
    )
    shops = profiled(tmp_path, shop_problem(dated), data)["tables"]["shops"]
    assert (shops["time"]["column"], shops["time"]["missing_steps"]) == ("opened", 2)


def test_a_table_without_rows_has_a_profile(tmp_path):
    found = profiled(tmp_path, shop_problem(), write_shop(tmp_path / "data", []))["tables"]["sales"]
    assert found["rows"] == 0 and found["time"] is None
    assert found["columns"]["units"]["histogram"] is None and found["columns"]["day"]["histogram"] is None
    assert found["columns"]["shop"] == {
        "type": "category", "description": "", "count": 0, "nulls": 0, "distinct": 0, "min": None,
        "max": None, "top": [], "other": 0,
    }  # fmt: skip


def test_the_target_is_correlated_with_the_other_numbers(tmp_path):
    def numbers(document):
        document["tables"]["sales"]["columns"] |= {"twice": {"type": "number"}, "one": {"type": "integer"}}

    data = write_shop(tmp_path / "data")
    rows = [",".join(map(str, [*row, -2 * row[2], 1])) for row in sales_rows()]
    (tmp_path / "data" / "sales.csv").write_text(
        "\n".join(["day,shop,units,promoted,twice,one", *rows]) + "\n"
    )
    found = profiled(tmp_path, shop_problem(numbers), data)["tables"]["sales"]["correlations"]
    assert found["columns"] == ["units", "twice", "one"]
    assert found["target"] == {"twice": -1.0, "one": None}
    assert found["matrix"][0][:2] == [1.0, -1.0] and found["matrix"][2] == [None, None, None]


def test_long_tables_are_profiled_by_every_kth_row(tmp_path, long_table):
    problem, folder, frame = long_table
    found = profile_tables(problem, folder)["tables"]["sales"]
    assert (found["rows"], found["rows_profiled"], found["sampled"]) == (
        frame.height,
        frame.height // 2,
        True,
    )
    units = found["columns"]["units"]
    assert (units["count"], units["nulls"]) == (frame.height, frame.get_column("units").null_count())
    assert units["max"] == frame.get_column("units").max()
    assert units["distinct"] == 997
    assert found["columns"]["shop"]["distinct"] == 3
    assert found["time"]["expected_steps"] == 60


@pytest.fixture(scope="module")
def long_table(tmp_path_factory):
    problem, folder = shop_problem(), tmp_path_factory.mktemp("long")
    data = write_shop(folder / "data")
    check_tables(problem, locate(problem, data, folder), data, folder / "out", NOW)
    small = pl.read_parquet(folder / "out" / "sales.parquet")
    frame = pl.concat([small] * 30_000).head(5_000_002)
    units = (pl.int_range(pl.len()) % 997).cast(pl.Float64)
    frame = frame.with_columns(units=pl.when(pl.int_range(pl.len()) % 1000 == 1).then(None).otherwise(units))
    frame.write_parquet(folder / "out" / "sales.parquet")
    return problem, folder / "out", frame


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-5, 5).map(float),
    st.sampled_from([1e17, 1e17 + 16, 1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 0.1]),
)


@pytest.fixture(scope="module")
def checked_folder(tmp_path_factory):
    folder, problem = tmp_path_factory.mktemp("numbers"), shop_problem()
    check_tables(problem, locate(problem, write_shop(folder), folder), str(folder), folder / "out", NOW)
    return folder / "out"


@settings(deadline=None, max_examples=40)
@given(st.lists(NUMBERS, min_size=1, max_size=40))
@example([1e17])
@example([-1.7976931348623157e308, 1.7976931348623157e308])
@example([1e17, 1e17 + 16])
def test_any_numbers_have_a_profile_that_counts_them_all(checked_folder, values):
    path = checked_folder / "sales.parquet"
    empty = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in pl.read_parquet_schema(path).items()
        if name != "units"
    ]
    pl.DataFrame({"units": values}).with_columns(empty).write_parquet(path)
    profile = json.loads(atomic.dumps(profile_tables(shop_problem(), checked_folder)))
    found = profile["tables"]["sales"]["columns"]["units"]
    assert (found["min"], found["max"]) == (min(values), max(values))
    if found["histogram"] is None:
        assert max(map(abs, values)) > 1e300
    else:
        assert sum(found["histogram"]["counts"]) == sum(found["histogram"]["quantile_counts"]) == len(values)
        assert (np.diff(found["histogram"]["edges"]) > 0).all()
        assert (np.diff(found["histogram"]["quantile_edges"]) > 0).all()


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(*[st.one_of(st.none(), st.integers(-40, 40))] * 3), min_size=2, max_size=60),
    st.sampled_from([0.0, 1e6, -1e9]),
)
def test_correlations_agree_with_numpy_wherever_numbers_lie(rows, shift):
    columns = {
        name: [None if row[i] is None else row[i] + shift for row in rows] for i, name in enumerate("abc")
    }
    frame = pl.DataFrame(columns, schema=dict.fromkeys("abc", pl.Float64))
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    centres = {
        name: (float(np.mean(values)), float(np.std(values))) if values else (0.0, 0.0)
        for name, values in known.items()
    }
    matrix = correlations(frame, centres)
    for i, a in enumerate("abc"):
        for j, b in enumerate("abc"):
            both = [(x, y) for x, y in zip(columns[a], columns[b], strict=True) if None not in (x, y)]
            constant = len(both) < 2 or any(len(set(side)) == 1 for side in zip(*both, strict=True))
            if constant:
                assert matrix[i][j] is None
            else:
                expected = np.corrcoef(*zip(*[(x - shift, y - shift) for x, y in both], strict=True))[0, 1]
                assert matrix[i][j] == pytest.approx(expected, abs=2e-6)
