"""A snapshot against the last accepted one: rows, distributions, nulls, new values, the contract itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from cd4ml.adapters.storage import open_store
from cd4ml.tables.comparison import Accepted, compare_snapshots, profile_distance
from cd4ml.tables.compatibility import contract_changes, contract_of
from cd4ml.tables.history import SnapshotHistory
from cd4ml.tables.snapshot import take_snapshot
from tests.tables.contract_samples import NOW, SHOPS, found_by, kinds, sales_rows, shop_problem, write_shop


@pytest.fixture
def before(tmp_path):
    """Return the accepted snapshot of the right data."""
    store = open_store(str(tmp_path / "store"))
    take_snapshot(shop_problem(), write_shop(tmp_path / "old"), store, tmp_path / "taken", now=NOW)
    return SnapshotHistory(store).accepted("shop")


def judged(tmp_path, before, sales=None, change=None, shops=None):
    return found_by(shop_problem(change), write_shop(tmp_path / "new", sales, shops), before=before)


def drift(**limits):
    return lambda document: document["tables"]["sales"].update(drift=limits)


def test_equal_data_did_not_move(tmp_path, before):
    assert judged(tmp_path, before)["anomalies"] == []


def test_numbers_that_moved_are_told_by_their_distance(tmp_path, before):
    rows = [[*row[:2], row[2] + 40, row[3]] for row in sales_rows()]
    found = judged(tmp_path, before, rows)
    assert kinds(found) == {("sales.units", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH", "warn")}
    (anomaly,) = found["anomalies"]
    assert 0.15 < anomaly["measured"] <= 1 and anomaly["limit"] == 0.15 and found["refused"] == []
    edges = before.profile["tables"]["sales"]["columns"]["units"]["histogram"]["quantile_edges"]
    shares = [
        np.histogram(np.clip([row[2] for row in part], edges[0], edges[-1]), edges)[0]
        for part in (sales_rows(), rows)
    ]
    assert anomaly["measured"] == pytest.approx(jensenshannon(*shares, base=2), abs=1e-6)


@pytest.mark.parametrize(
    ("severity", "becomes"), [("refuse", "refuse"), ("quarantine", "refuse"), ("warn", "warn")]
)
def test_a_rule_about_a_whole_table_refuses_or_warns(tmp_path, before, severity, becomes):
    rows = [[*row[:2], row[2] + 40, row[3]] for row in sales_rows()]
    found = judged(tmp_path, before, rows, drift(severity=severity))
    assert {one[2] for one in kinds(found)} == {becomes} and bool(found["refused"]) == (becomes == "refuse")


def test_categories_that_moved_name_the_one_that_moved_most(tmp_path, before):
    rows = [row for row in sales_rows() if row[1] != "C" or row[0] < "2024-01-03"]
    found = judged(tmp_path, before, rows, drift(max_l_infinity=0.3))
    (anomaly,) = found["anomalies"]
    assert (anomaly["kind"], anomaly["column"]) == ("COMPARATOR_L_INFTY_HIGH", "shop")
    assert "most 'C': 0.333 -> 0.016" in anomaly["detail"]


def test_a_share_of_nulls_that_moved_is_told(tmp_path, before):
    rows = [[*row[:3], "" if i % 4 else row[3]] for i, row in enumerate(sales_rows())]
    found = judged(tmp_path, before, rows)
    (anomaly,) = found["anomalies"]
    assert (anomaly["kind"], anomaly["column"]) == ("COMPARATOR_L_INFTY_HIGH", "promoted")
    assert "without a value moved from 0.333 to 0.833" in anomaly["detail"]


def test_a_number_that_is_never_there_any_more_has_a_share_of_nulls_and_no_distance(tmp_path, before):
    def lenient(document):
        document["tables"]["shops"]["columns"]["size"]["severity"] = "warn"

    found = judged(tmp_path, before, None, lenient, [[*row[:2], ""] for row in SHOPS])
    assert kinds(found) == {
        ("shops.size", "FEATURE_TYPE_LOW_FRACTION_PRESENT", "warn"),
        ("shops.size", "COMPARATOR_L_INFTY_HIGH", "warn"),
    }


def test_new_values_of_a_free_category_are_listed(tmp_path, before):
    rows = [[row[0], f"new {row[1]}{i}" if i < 7 else row[1], *row[2:]] for i, row in enumerate(sales_rows())]

    def free(document):
        del document["tables"]["sales"]["foreign_keys"]

    found = judged(tmp_path, before, rows, free)
    (anomaly,) = found["anomalies"]
    assert (anomaly["kind"], anomaly["severity"], anomaly["rows"]) == ("COMPARATOR_NEW_VALUES", "warn", 7)
    assert "'new A0', 'new A3', 'new A6', 'new B1', 'new B4' and 2 more" in anomaly["detail"]


@pytest.mark.parametrize(
    ("days", "kind"), [(50, None), (20, "COMPARATOR_LOW_NUM_EXAMPLES"), (100, "COMPARATOR_HIGH_NUM_EXAMPLES")]
)
def test_a_change_of_the_row_count_is_held_against_its_limit(tmp_path, before, days, kind):
    def limited(document):
        document["tables"]["sales"]["rows"] = {"max_change_fraction": 0.5}
        document["tables"]["sales"]["drift"] = {"max_jensen_shannon": 1.0}

    found = judged(tmp_path, before, sales_rows(days), limited)
    assert {one for one in kinds(found) if one[0] == "sales"} == (
        {("sales", kind, "refuse")} if kind else set()
    )
    if kind:
        assert f"the 180 rows of the last accepted snapshot; found {3 * days}" in found["refused"][0]


def test_a_changed_contract_warns_once_for_each_way_it_is_not_compatible(tmp_path, before):
    def narrower(document):
        document["tables"]["sales"]["columns"]["units"]["max"] = 500
        document["tables"]["sales"]["columns"]["promoted"]["type"] = "text"

    found = judged(tmp_path, before, None, narrower)
    assert kinds(found) == {
        ("sales.units", "SCHEMA_NOT_BACKWARD_COMPATIBLE", "warn"),
        ("sales.promoted", "SCHEMA_NOT_FORWARD_COMPATIBLE", "warn"),
    }
    assert "(max: 1000 -> 500); it is not backward compatible" in json.dumps(found["anomalies"])


def test_a_new_table_and_a_column_of_another_type_are_not_compared(tmp_path, before):
    def other(document):
        document["tables"]["prices"] = {"file": "prices.csv", "columns": {"price": {"type": "number"}}}
        document["tables"]["shops"]["columns"]["size"]["type"] = "number"

    data = write_shop(tmp_path / "new", shops=[[*row[:2], 5000] for row in SHOPS])
    (tmp_path / "new" / "prices.csv").write_text("price\n1\n2\n")
    found = found_by(shop_problem(other), data, before=before)
    assert kinds(found) == {
        ("prices", "SCHEMA_NOT_BACKWARD_COMPATIBLE", "warn"),
        ("shops.size", "SCHEMA_NOT_FORWARD_COMPATIBLE", "warn"),
    }


def test_identifiers_have_no_distance_and_large_categories_have_one():
    def profile(names, rows):
        top = [[name, rows] for name in names[:100]]
        return {
            "count": rows * len(names), "nulls": 0, "distinct": len(names), "top": top,
            "other": rows * (len(names) - 100),
        }  # fmt: skip

    old, new = [f"a{i}" for i in range(150)], [f"b{i}" for i in range(150)]
    assert profile_distance(profile(old, 1), profile(new, 1)) is None
    assert profile_distance(profile(old, 9), profile(new, 9)) == ("l_infinity", pytest.approx(1 / 150))
    none = {"count": 3, "nulls": 3, "distinct": 0, "top": [], "other": 0}
    assert profile_distance(none, profile(old, 9)) is None


def test_two_snapshots_are_compared_by_what_is_kept_of_them(tmp_path, before):
    store = open_store(str(tmp_path / "store"))
    rows = [[*row[:2], row[2] + 40, "" if i < 9 else row[3]] for i, row in enumerate(sales_rows(70))]
    rows[0][2] = -1
    take_snapshot(shop_problem(), write_shop(tmp_path / "new", rows), store, tmp_path / "second", now=NOW)
    after = SnapshotHistory(store).accepted("shop")
    found = compare_snapshots(before, after)
    assert (found["backward"], found["forward"], found["same"], found["contract"]) == (True, True, False, [])
    sales = found["tables"]["sales"]
    assert (sales["rows"], sales["rows_quarantined"], sales["content"]) == ([180, 209], [0, 1], "changed")
    assert found["tables"]["shops"] == {
        "rows": [3, 3], "rows_quarantined": [0, 0], "content": "same", "columns": {}
    }  # fmt: skip
    assert (
        sales["columns"]["units"]["measure"] == "jensen_shannon"
        and sales["columns"]["units"]["distance"] > 0.5
    )
    assert sales["columns"]["promoted"]["nulls"] == [60, 74]
    other = {**before.profile["tables"]["sales"]["columns"]}
    other["units"] = {**other["units"], "type": "text"}
    retyped = Accepted(before.manifest, {"tables": {**before.profile["tables"], "sales": {"columns": other}}})
    assert "units" not in compare_snapshots(retyped, after)["tables"]["sales"]["columns"]
    same = compare_snapshots(before, before)
    assert same["same"] and all(not table["columns"] for table in same["tables"].values())


def changed(change):
    old, new = contract_of(shop_problem()), contract_of(shop_problem(change))
    return {
        (one.table, one.column, one.change, one.backward, one.forward) for one in contract_changes(old, new)
    }


def column(table, name, **keys):
    return lambda document: document["tables"][table]["columns"][name].update(keys)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (column("shops", "size", type="number"), ("shops", "size", "type", True, False)),
        (column("sales", "units", type="integer"), ("sales", "units", "type", False, True)),
        (column("sales", "day", type="timestamp"), ("sales", "day", "type", True, False)),
        (column("shops", "city", type="text"), ("shops", "city", "type", True, True)),
        (column("sales", "promoted", type="integer"), ("sales", "promoted", "type", False, False)),
        (column("shops", "size", nulls=False), ("shops", "size", "nulls", False, True)),
        (column("sales", "units", nulls=True), ("sales", "units", "nulls", True, False)),
        (column("sales", "units", min=-1), ("sales", "units", "min", True, False)),
        (column("sales", "units", min=None), ("sales", "units", "min", True, False)),
        (column("sales", "units", max=5), ("sales", "units", "max", False, True)),
        (column("sales", "day", max="2030-01-01"), ("sales", "day", "max", False, True)),
        (column("shops", "city", allowed=["Quito"]), ("shops", "city", "allowed", False, True)),
        (column("shops", "city", allowed=["Quito", "Loja"]), ("shops", "city", "allowed", False, False)),
        (column("shops", "city", allowed=None), ("shops", "city", "allowed", True, False)),
    ],
)
def test_each_change_of_a_contract_is_compatible_in_the_ways_that_it_is(change, expected):
    assert changed(change) == {expected}


def test_added_and_removed_columns_and_tables():
    def swapped(document):
        columns = document["tables"]["shops"]["columns"]
        columns["area"] = columns.pop("size")
        document["tables"]["prices"] = {
            "file": "p.csv",
            "columns": {"p": {"type": "number"}},
            "optional": True,
        }

    assert changed(swapped) == {
        ("shops", "size", "removed", True, False),
        ("shops", "area", "added", False, True),
        ("prices", "", "added", True, True),
    }
    backwards = contract_changes(contract_of(shop_problem(swapped)), contract_of(shop_problem()))
    assert ("prices", "removed", True, True) in {
        (c.table, c.change, c.backward, c.forward) for c in backwards
    }


def test_a_bound_that_moves_with_the_day_has_no_order():
    def today(document):
        document["tables"]["sales"]["columns"]["day"]["max"] = "today"

    old = contract_of(shop_problem(column("sales", "day", max="2030-01-01")))
    (change,) = contract_changes(old, contract_of(shop_problem(today)))
    assert (change.backward, change.forward) == (False, False)


LIMITS = st.one_of(st.none(), st.integers(-5, 5))


@settings(deadline=None, max_examples=50)
@given(LIMITS, LIMITS, st.booleans(), LIMITS, LIMITS, st.booleans())
def test_compatible_backward_means_that_what_kept_the_old_contract_keeps_the_new(
    low, high, null, low2, high2, null2
):
    def contract(low, high, null):
        entry = {"name": "c", "type": "integer", "nulls": null, "min": low, "max": high}
        return {"t": {"optional": False, "columns": [entry]}}

    def admitted(low, high, null):
        values = np.arange(-8, 9)
        kept = (values >= (-9 if low is None else low)) & (values <= (9 if high is None else high))
        return set(values[kept].tolist()) | ({None} if null else set())

    found = contract_changes(contract(low, high, null), contract(low2, high2, null2))
    old, new = admitted(low, high, null), admitted(low2, high2, null2)
    assert not all(change.backward for change in found) or old <= new
    assert not all(change.forward for change in found) or new <= old
