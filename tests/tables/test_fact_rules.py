"""Data that teach nothing never become a snapshot: one clear line, exit code 4, nothing stored."""

from datetime import timedelta

import pytest

from cd4ml.adapters.storage import open_store
from cd4ml.errors import ContractError
from cd4ml.tables.snapshot import take_snapshot
from tests.tables.contract_samples import (
    FIRST,
    NOW,
    SHOPS,
    balanced,
    found_by,
    kinds,
    sales_rows,
    shop_problem,
    write_shop,
    write_table,
)


def refused(tmp_path, problem, data):
    """Return the one line with which a snapshot is refused, having seen that nothing was kept."""
    with pytest.raises(ContractError) as caught:
        take_snapshot(problem, data, open_store(str(tmp_path / "store")), tmp_path / "taken", now=NOW)
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists() and not (tmp_path / "taken").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    return str(caught.value)


def classification(document):
    document["task"], document["metrics"]["primary"] = "classification", "roc_auc"
    document["candidates"][0]["family"] = "logistic"
    document["tables"]["sales"]["columns"]["late"] = {"type": "category", "nulls": True}
    document["target"] = {"column": "late", "positive": "yes"}


def labelled(folder, labels):
    data = write_shop(folder)
    rows = [[*row, labels[i % len(labels)]] for i, row in enumerate(sales_rows())]
    write_table(folder / "sales.csv", ["day", "shop", "units", "promoted", "late"], rows)
    return data


def spoil(column, value):
    return [[value if i == column else cell for i, cell in enumerate(row)] for row in sales_rows()]


def test_a_constant_target_is_refused(tmp_path):
    line = refused(tmp_path, shop_problem(), write_shop(tmp_path / "data", spoil(2, 5)))
    assert "sales.units: expected a target that varies; found 5.0 in all rows" in line


def test_a_target_of_nan_alone_is_refused(tmp_path):
    line = refused(tmp_path, shop_problem(), write_shop(tmp_path / "data", spoil(2, "NaN")))
    assert "found 0 (180 in quarantine, most for 'units: NaN')" in line


@pytest.mark.parametrize(("labels", "found"), [(["yes"], "in 180 of 180"), (["no", "never"], "in 0 of 180")])
def test_one_class_alone_is_refused(tmp_path, labels, found):
    line = refused(tmp_path, shop_problem(classification), labelled(tmp_path / "data", labels))
    assert f"sales.late: expected both classes; found 'yes' {found} rows" in line


def test_two_classes_are_right_and_rows_without_a_class_are_set_aside(tmp_path):
    found = found_by(shop_problem(classification), labelled(tmp_path, ["yes", "no", ""]))
    assert found["refused"] == [] and balanced(found)
    assert found["tables"]["sales"]["reasons"] == {"late: no value": 60}


def test_a_positive_number_is_found_in_a_column_of_numbers(tmp_path):
    def numbers(document):
        classification(document)
        document["tables"]["sales"]["columns"]["late"] = {"type": "number"}
        document["target"]["positive"] = 1

    assert found_by(shop_problem(numbers), labelled(tmp_path, ["1", "0"]))["refused"] == []
    assert found_by(shop_problem(numbers), labelled(tmp_path, ["2", "0"]))["refused"]


@pytest.mark.parametrize("days", [1, 14])
def test_facts_of_no_more_time_than_is_held_out_are_refused(tmp_path, days):
    line = refused(tmp_path, shop_problem(), write_shop(tmp_path / "data", sales_rows(days)))
    assert (
        f"sales.day: expected facts of at least 15d, a step more than what is held out; found {days}d" in line
    )


def test_a_step_more_than_the_holdout_is_enough_for_a_snapshot(tmp_path):
    assert found_by(shop_problem(), write_shop(tmp_path, sales_rows(15)))["anomalies"] == []


def test_one_day_alone_is_refused_where_entities_are_held_out(tmp_path):
    def by_entity(document):
        document["split"] = {"kind": "entity", "holdout": 0.3, "folds": 2}

    line = refused(tmp_path, shop_problem(by_entity), write_shop(tmp_path / "data", sales_rows(1)))
    assert "expected facts of at least 2d" in line
    assert found_by(shop_problem(by_entity), write_shop(tmp_path / "data", sales_rows(2)))["refused"] == []


def test_a_problem_without_time_asks_for_no_days(tmp_path):
    def timeless(document):
        for key in ("time", "panel", "horizon", "entity"):
            del document[key]
        document["features"] = [{"kind": "category", "columns": ["shop"]}]
        document["split"] = {"kind": "random", "holdout": 0.3, "folds": 2}

    assert found_by(shop_problem(timeless), write_shop(tmp_path, sales_rows(1)))["anomalies"] == []


def test_future_dates_are_set_aside_and_future_facts_alone_refused(tmp_path):
    late = [[(FIRST + timedelta(days=4000 + i)).isoformat(), *row[1:]] for i, row in enumerate(sales_rows())]
    found = found_by(shop_problem(), write_shop(tmp_path / "data", [*sales_rows(), *late[:7]]))
    assert found["tables"]["sales"]["reasons"] == {"day: in the future": 7} and balanced(found)
    assert "most for 'day: in the future'" in refused(
        tmp_path, shop_problem(), write_shop(tmp_path / "data", late)
    )


def test_a_derived_time_does_not_hide_the_future(tmp_path):
    def derived(document):
        document["tables"]["sales"]["columns"]["hour"] = {"type": "integer", "min": 0, "max": 23}
        document["derived"] = {"at": "day + hours(hour)"}
        document["time"] = {"column": "at", "step": "1h"}

    data = write_shop(tmp_path)
    rows = [[*row, 3] for row in sales_rows()]
    rows[0][0], rows[1][4] = "2090-01-01", ""
    write_table(tmp_path / "sales.csv", ["day", "shop", "units", "promoted", "hour"], rows)
    found = found_by(shop_problem(derived), data)
    assert found["tables"]["sales"]["reasons"] == {"day: in the future": 1, "hour: no value": 1}
    assert found["refused"] == []


@pytest.mark.parametrize(("table", "column"), [("sales", "promoted"), ("shops", "size")])
def test_a_column_without_any_value_is_refused_though_nulls_are_allowed(tmp_path, table, column):
    sales, shops = spoil(3, "") if table == "sales" else None, [[*row[:2], ""] for row in SHOPS]
    data = write_shop(tmp_path / "data", sales, shops if table == "shops" else None)
    rows = 180 if table == "sales" else 3
    assert f"{table}.{column}: expected values; found none in all {rows} rows" in refused(
        tmp_path, shop_problem(), data
    )

    def lenient(document):
        document["tables"][table]["columns"][column]["severity"] = "warn"

    found = found_by(shop_problem(lenient), data)
    assert kinds(found) == {(f"{table}.{column}", "FEATURE_TYPE_LOW_FRACTION_PRESENT", "warn")}


def test_a_column_without_any_value_where_none_may_be_null_leaves_no_row(tmp_path):
    line = refused(tmp_path, shop_problem(), write_shop(tmp_path / "data", spoil(0, "")))
    assert "most for 'day: no value'" in line


def test_a_category_that_names_rows_is_refused_and_a_large_one_that_repeats_is_not(tmp_path):
    def free(document):
        del document["tables"]["sales"]["foreign_keys"]

    many = [[(FIRST + timedelta(days=n % 60)).isoformat(), f"shop {n}", n % 9, "true"] for n in range(1200)]
    line = refused(tmp_path, shop_problem(free), write_shop(tmp_path / "data", many))
    assert "sales.shop: expected categories that repeat; found 1200 different values in 1200 rows" in line
    repeated = many + [
        [(FIRST + timedelta(days=(n + 1) % 60)).isoformat(), *many[n][1:]] for n in range(1200)
    ]
    assert found_by(shop_problem(free), write_shop(tmp_path / "data", repeated))["refused"] == []

    def text(document):
        free(document)
        document["tables"]["sales"]["columns"]["shop"]["type"] = "text"

    assert found_by(shop_problem(text), write_shop(tmp_path / "data", many))["refused"] == []


def test_duplicate_and_orphan_keys_alone_are_refused(tmp_path):
    orphans = write_shop(tmp_path / "data", spoil(1, "X"))
    assert "most for 'shop: not in shops'" in refused(tmp_path, shop_problem(), orphans)
    twice = [["2024-01-01", "A", n, "true"] for n in range(180)]
    assert "found 1d" in refused(tmp_path, shop_problem(), write_shop(tmp_path / "data", twice))


def test_an_empty_file_is_refused(tmp_path):
    line = refused(tmp_path, shop_problem(), write_shop(tmp_path / "data", []))
    assert "sales: expected at least 1 rows; found 0" in line
