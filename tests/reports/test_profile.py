from __future__ import annotations

from cd4ml.reports.profile import profile_page
from tests.reports import page_samples
from tests.reports.pages import Page


def test_a_profile_shows_distributions_nulls_gaps_and_correlations() -> None:
    page = Page(profile_page(*page_samples.profile_inputs()))
    assert "3 (0.02 %)" in page.texts["table-rides"]
    assert "2012-10-29 01:00" in page.texts["table-rides"]
    assert "cnt and hum: −0.32" in page.texts["table-rides"]
    assert "165 of 17,544 steps" in page.texts["table-rides"]
    assert "8,690 rows, evenly spread" in page.texts["table-rides"]
    assert "2012-01-01T00:00:00 to 2012-12-31T00:00:00: 8,734 rows" in page.texts["columns-rides"]
    assert "11,413" in page.texts["columns-rides"]
    assert "outliers: 41" in page.texts["columns-rides"]
    assert "in steps of one hour" in page.texts["table-rides"]
    assert "The first gaps (1)" in page.texts["table-rides"]
    assert "Accepted by its contract" in page.texts[""]


def test_a_refused_snapshot_is_called_refused() -> None:
    profile, validation, manifest = page_samples.profile_inputs()
    validation["refused"] = ["rides: 3 rows, expected at least 100"]
    page = Page(profile_page(profile, validation, manifest))
    assert "Refused by its contract" in page.texts[""]
    assert "rides: 3 rows" in page.texts["contract"]


def test_a_table_without_time_numbers_or_rows_is_shown_as_far_as_it_goes() -> None:
    columns = {"note": {"type": "text", "nulls": 0, "distinct": 0}}
    few = {"columns": ["a"], "matrix": [[1.0]]}
    table = {"rows": 0, "columns": columns, "correlations": few, "time": None, "gaps": []}
    page = Page(profile_page({"tables": {"empty": table}}, {}, {}))
    assert "0 rows, 1 column." in page.texts["table-empty"]
    assert "columns-empty" not in page.texts
    assert "Correlations" not in page.texts["table-empty"]
    assert "no validation" in page.texts["contract"]


def test_of_many_values_the_most_frequent_are_drawn() -> None:
    top = [[f"value {index}", 30 - index] for index in range(12)]
    columns = {"city": {"type": "category", "nulls": 0, "distinct": 40, "top": top}}
    page = Page(profile_page({"tables": {"places": {"rows": 400, "columns": columns}}}, {}, {}))
    said = page.texts["columns-places"]
    assert "the 10 most frequent of 40 values" in said
    assert "value 9" in said and "value 10" not in said


def test_whole_numbers_get_a_bar_each() -> None:
    profile, validation, manifest = page_samples.profile_inputs()
    edges = [23 * i / 30 for i in range(31)]
    counts = [0] * 30
    for hour in range(24):
        counts[min(29, int(hour * 30 / 23))] += 700 + hour
    hours = {
        "type": "integer",
        "nulls": 0,
        "min": 0,
        "max": 23,
        "histogram": {"edges": edges, "counts": counts},
    }
    profile["tables"]["rides"]["columns"] = {"hr": hours}
    said = Page(profile_page(profile, validation, manifest)).texts["columns-rides"]
    assert all(
        f"{hour - 0.5:g}".replace("-", "−") + f" to {hour + 0.5:g}: {700 + hour} rows" in said
        for hour in range(24)
    )
    hours["max"] = 400
    assert "−0.5" not in Page(profile_page(profile, validation, manifest)).texts["columns-rides"]


def test_the_identity_of_a_snapshot_is_short_and_its_manifest_folded() -> None:
    profile, validation, _ = page_samples.profile_inputs()
    files = {f"{name}.parquet": {"bytes": 3} for name in "abc"}
    manifest = {
        "id": "a3" * 32,
        "problem": "p",
        "files": files,
        "code": {"commit": "0f" * 20},
        "parent": None,
    }
    page = Page(profile_page(profile, validation, manifest))
    said = page.texts["identity"]
    assert said.index("code.commit") < said.index("The whole manifest") < said.index("files.a.parquet.bytes")
    assert "parent" not in said
