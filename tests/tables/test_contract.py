"""Sources against the contract: what is refused, set aside or only warned of, and that no row is lost."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.storage import open_store
from cd4ml.errors import ContractError, ProblemError
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


def test_right_data_have_no_anomalies(tmp_path):
    found = found_by(shop_problem(), write_shop(tmp_path))
    assert found["anomalies"] == [] and found["refused"] == []
    assert found["tables"]["sales"] == {
        "rows_in": 180, "rows_accepted": 180, "rows_quarantined": 0, "reasons": {}
    }  # fmt: skip


SPOILT = {
    "type": (2, "many", "units: not a number", "FLOAT_TYPE_STRING_NOT_FLOAT"),
    "null": (2, "", "units: no value", "FEATURE_TYPE_LOW_FRACTION_PRESENT"),
    "nan": (2, "NaN", "units: NaN", "FLOAT_TYPE_HAS_NAN"),
    "infinite": (2, "inf", "units: infinite", "FLOAT_TYPE_HAS_INF"),
    "below": (2, -1, "units: below 0", "FLOAT_TYPE_SMALL_FLOAT"),
    "above": (2, 1001, "units: above 1000", "FLOAT_TYPE_BIG_FLOAT"),
    "no date": (0, "2024-02-30", "day: not a date", "DATE_TYPE_NOT_DATE"),
    "future": (0, "2124-01-01", "day: in the future", "DATE_TYPE_LATE"),
    "no boolean": (3, "perhaps", "promoted: not true or false", "BOOL_TYPE_UNEXPECTED_STRING"),
    "orphan": (1, "X", "shop: not in shops", "FOREIGN_KEY_UNMATCHED"),
}


@pytest.mark.parametrize(("column", "value", "reason", "kind"), SPOILT.values(), ids=SPOILT)
def test_a_row_that_breaks_a_rule_goes_to_quarantine_with_its_reason(tmp_path, column, value, reason, kind):
    rows = sales_rows()
    rows[4][column] = value
    store, data = open_store(str(tmp_path / "store")), write_shop(tmp_path / "data", rows)
    taken = take_snapshot(shop_problem(), data, store, tmp_path / "s", now=NOW)
    found = taken.document("validation.json")
    assert found["tables"]["sales"]["reasons"] == {reason: 1} and balanced(found)
    assert [(one["kind"], one["severity"], one["rows"]) for one in found["anomalies"]] == [
        (kind, "quarantine", 1)
    ]
    aside = taken.quarantine("sales")
    assert aside.select("_row", "_reason").rows() == [(5, reason)]
    assert aside.row(0)[2 + column] == (str(value) or None)
    assert taken.frame("sales").height == 179


def test_of_rows_with_the_same_key_the_first_stays(tmp_path):
    rows = sales_rows()
    rows += [[*rows[0][:2], 999, ""], [*rows[0][:2], 998, ""]]
    store = open_store(str(tmp_path / "store"))
    data = write_shop(tmp_path / "data", rows)
    taken = take_snapshot(shop_problem(), data, store, tmp_path / "s", now=NOW)
    assert taken.quarantine("sales").select("_row", "_reason", "units").rows() == [
        (181, "day, shop: not unique", "999.0"),
        (182, "day, shop: not unique", "998.0"),
    ]
    assert taken.frame("sales").get_column("units").max() < 998


def test_a_row_keeps_all_of_its_reasons(tmp_path):
    rows = sales_rows()
    rows[1][0], rows[1][2] = "never", -5
    rows += [["2024-01-01", "X", 1, ""], ["2024-01-01", "X", 2, ""]]
    store, data = open_store(str(tmp_path / "store")), write_shop(tmp_path / "data", rows)
    taken = take_snapshot(shop_problem(), data, store, tmp_path / "s", now=NOW)
    assert taken.quarantine("sales").select("_row", "_reason").rows() == [
        (2, "day: not a date; units: below 0"),
        (181, "shop: not in shops"),
        (182, "day, shop: not unique; shop: not in shops"),
    ]
    found = taken.document("validation.json")
    assert found["tables"]["sales"]["rows_quarantined"] == 3 and balanced(found)


def test_a_ragged_row_is_set_aside_with_what_it_has(tmp_path):
    data = write_shop(
        tmp_path / "data", [*sales_rows(), ["2024-03-01", "A"], ["2024-03-02", "A", 1, "", "more"]]
    )
    taken = take_snapshot(shop_problem(), data, open_store(str(tmp_path / "store")), tmp_path / "s", now=NOW)
    reasons = taken.quarantine("sales").select("_row", "_reason", "units").rows()
    assert reasons == [
        (181, "ragged: found 2 fields, expected 4", None), (182, "ragged: found 5 fields, expected 4", "1")
    ]  # fmt: skip
    assert ("sales", "ROW_RAGGED", "quarantine") in kinds(taken.document("validation.json"))


@pytest.mark.parametrize("rule", ["column", "unique", "foreign_key"])
@pytest.mark.parametrize("severity", ["refuse", "quarantine", "warn"])
def test_each_rule_has_its_severity(tmp_path, rule, severity):
    def change(document):
        sales = document["tables"]["sales"]
        part = {"column": sales["columns"]["promoted"], "unique": sales["unique"][0]}
        part.get(rule, sales["foreign_keys"][0])["severity"] = severity

    rows = sales_rows()
    if rule == "column":
        rows[0][3] = "perhaps"
    elif rule == "unique":
        rows.append(rows[0])
    else:
        rows[0][1] = "X"
    found = found_by(shop_problem(change), write_shop(tmp_path, rows))
    assert [one["severity"] for one in found["anomalies"]] == [severity]
    assert found["tables"]["sales"]["rows_quarantined"] == (severity != "warn")
    assert bool(found["refused"]) == (severity == "refuse") and balanced(found)


def test_the_target_is_set_aside_even_where_its_column_only_warns(tmp_path):
    def lenient(document):
        document["tables"]["sales"]["columns"]["units"] |= {"severity": "warn", "nulls": True}

    rows = sales_rows()
    rows[0][2], rows[1][2], rows[2][2] = "", "NaN", -7
    found = found_by(shop_problem(lenient), write_shop(tmp_path, rows))
    assert found["tables"]["sales"]["reasons"] == {"units: no value": 1, "units: NaN": 1}
    assert ("sales.units", "FLOAT_TYPE_SMALL_FLOAT", "warn") in kinds(found)


def test_a_missing_column_is_refused_and_a_new_one_warned_of(tmp_path):
    data = write_shop(tmp_path)
    write_table(tmp_path / "sales.csv", ["day", "shop", "unit", "promoted"], sales_rows())
    found = found_by(shop_problem(), data)
    assert {place for place, kind, _ in kinds(found) if kind == "SCHEMA_MISSING_COLUMN"} == {"sales.units"}
    assert "did you mean 'unit'" in found["refused"][0]
    assert ("sales.unit", "SCHEMA_NEW_COLUMN", "warn") in kinds(found)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"min": 181}, "DATASET_LOW_NUM_EXAMPLES"),
        ({"max": 179}, "DATASET_HIGH_NUM_EXAMPLES"),
        ({"max": 179, "severity": "quarantine"}, "DATASET_HIGH_NUM_EXAMPLES"),
    ],
)
def test_too_few_or_too_many_rows_are_refused(tmp_path, rule, kind):
    data = write_shop(tmp_path)
    found = found_by(shop_problem(lambda document: document["tables"]["sales"].update(rows=rule)), data)
    assert ("sales", kind, "refuse") in kinds(found) and "found 180" in found["refused"][0]
    lenient = {**rule, "severity": "warn"}
    found = found_by(shop_problem(lambda document: document["tables"]["sales"].update(rows=lenient)), data)
    assert kinds(found) == {("sales", kind, "warn")}


def test_the_bounds_of_a_row_count_are_right_themselves(tmp_path):
    rule = {"min": 180, "max": 180}
    found = found_by(
        shop_problem(lambda document: document["tables"]["sales"].update(rows=rule)), write_shop(tmp_path)
    )
    assert found["anomalies"] == []


@pytest.mark.parametrize(("within", "stale"), [("93d", True), ("94d", False)])
def test_old_data_are_told_by_their_newest_value(tmp_path, within, stale):
    newest = FIRST + timedelta(days=59)  # 93.5 days before NOW
    rule = {"column": "day", "within": within}
    data = write_shop(tmp_path)
    for severity, refused in (("refuse", stale), ("warn", False)):
        part = {"freshness": {**rule, "severity": severity}}
        found = found_by(
            shop_problem(lambda document, part=part: document["tables"]["sales"].update(part)), data
        )
        assert kinds(found) == ({("sales.day", "DATASET_NOT_FRESH", severity)} if stale else set())
        assert bool(found["refused"]) is refused
        assert not stale or str(newest) in found["anomalies"][0]["detail"]


def test_rows_that_refer_to_a_row_in_quarantine_go_there_too(tmp_path):
    shops = [*SHOPS[:2], ["C", "Atlantis", 1]]
    found = found_by(shop_problem(), write_shop(tmp_path, shops=shops))
    assert found["tables"]["shops"]["reasons"] == {"city: not an allowed value": 1}
    assert found["tables"]["sales"]["reasons"] == {"shop: not in shops": 60} and balanced(found)


def test_a_chain_within_one_table_is_followed_to_its_end(tmp_path):
    def parents(document):
        shops = document["tables"]["shops"]
        shops["columns"]["parent"] = {"type": "category", "nulls": True}
        shops["foreign_keys"] = [{"columns": "parent", "table": "shops", "references": "shop"}]
        del document["tables"]["sales"]["foreign_keys"]

    data = write_shop(tmp_path)
    rows = [["A", "Quito", 1, ""], ["B", "Quito", 2, "gone"], ["C", "Quito", 3, "B"], ["D", "Quito", 4, "A"]]
    write_table(tmp_path / "shops.csv", ["shop", "city", "size", "parent"], rows)
    found = found_by(shop_problem(parents), data)
    assert found["tables"]["shops"]["reasons"] == {"parent: not in shops": 2}
    assert found["tables"]["shops"]["rows_accepted"] == 2


def test_a_circle_of_foreign_keys_is_a_wrong_problem(tmp_path):
    def circle(document):
        document["tables"]["shops"]["foreign_keys"] = [{"columns": "shop", "table": "sales"}]

    with pytest.raises(ProblemError, match=r"sales -> shops -> sales"):
        found_by(shop_problem(circle), write_shop(tmp_path))


def test_an_optional_table_that_is_absent_is_empty_and_no_anomaly(tmp_path):
    def optional(document):
        document["tables"]["shops"]["optional"] = True
        del document["tables"]["sales"]["foreign_keys"]

    data = write_shop(tmp_path)
    (tmp_path / "shops.csv").unlink()
    found = found_by(shop_problem(optional), data)
    assert found["anomalies"] == [] and found["tables"]["shops"]["rows_in"] == 0


def test_facts_that_are_all_in_quarantine_are_refused_with_the_reason(tmp_path):
    rows = [["3024-01-01", *row[1:]] for row in sales_rows()]
    store, data = open_store(str(tmp_path / "store")), write_shop(tmp_path / "data", rows)
    with pytest.raises(ContractError, match=r"found 0 \(180 in quarantine, most for 'day: in the future'\)"):
        take_snapshot(shop_problem(), data, store, tmp_path / "s", now=NOW)
    assert not (tmp_path / "store").exists() and not (tmp_path / "s").exists()


def test_facts_in_quarantine_are_refused_where_no_row_count_asks_for_it(tmp_path):
    rows = [[*row[:2], -1, row[3]] for row in sales_rows()]
    problem = shop_problem(lambda document: document["tables"]["sales"].update(rows={"min": 0}))
    found = found_by(problem, write_shop(tmp_path, rows))
    assert "all 180 rows of the facts are in quarantine, most for 'units: below 0'" in found["refused"][0]


def test_typed_sources_are_held_against_the_same_contract(tmp_path):
    rows = sales_rows()
    frame = pl.DataFrame(rows, schema=["day", "shop", "units", "promoted"], orient="row").with_columns(
        pl.col("day").str.to_date(), pl.col("units").cast(pl.Float64), pl.col("promoted") == "true"
    )
    frame = frame.with_columns(
        pl.when(pl.arange(180) == 3).then(float("nan")).otherwise("units").alias("units")
    )
    data = write_shop(tmp_path)
    (tmp_path / "sales.csv").unlink()
    frame.write_parquet(tmp_path / "sales.parquet")
    found = found_by(shop_problem(), data)
    assert found["tables"]["sales"]["reasons"] == {"units: NaN": 1} and balanced(found)


CELLS = st.sampled_from(["", "1", "-3", "x", "NaN", "2024-01-05", "2030-01-01", "A", "Z", "true", "1e400"])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=5), max_size=30), st.randoms(use_true_random=False))
def test_rows_in_are_rows_accepted_and_rows_in_quarantine(tmp_path_factory, wild, chance):
    folder = tmp_path_factory.mktemp("wild")
    rows = [*sales_rows(), *wild]
    chance.shuffle(rows)
    problem = shop_problem()
    taken = take_snapshot(
        problem, write_shop(folder / "d", rows), open_store(str(folder / "store")), folder / "s", now=NOW
    )
    found = taken.document("validation.json")
    assert found["tables"]["sales"]["rows_in"] == len(rows) and balanced(found)
    aside, right = taken.quarantine("sales"), taken.frame("sales")
    assert aside.height + right.height == len(rows)
    numbers = aside.get_column("_row").to_numpy()
    assert len(np.unique(numbers)) == len(numbers) and (np.diff(numbers) > 0).all()
    assert right.select("day", "shop").is_unique().all()
    assert not aside.get_column("_reason").is_null().any()
